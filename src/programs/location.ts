import type { Digest } from "../core/digest.js";
import type { PullPolicy } from "../pull/policy.js";

/** Where a program's bytecode came from. No credential is ever part of it. */
export type ProgramLocation = ImageLocation | FileLocation;

export interface ImageLocation {
  readonly kind: "image";
  readonly reference: string;
  readonly platform: string;
  readonly rootDigest: Digest;
  readonly manifestDigest: Digest;
  readonly layerDigest: Digest;
  readonly objectDigest: Digest;
  readonly pullPolicy: PullPolicy;
}

export interface FileLocation {
  readonly kind: "file";
  readonly path: string;
  readonly objectDigest: Digest;
}
