import type { Digest } from "../core/digest.js";
import type { Environment } from "./environment.js";
import { referenceKey } from "./keys.js";
import type { PinRecord } from "./records.js";
import { encodeRecord } from "./values.js";

/** A reference whose content a damaged cache took with it. */
export interface LostReference {
  readonly reference: string;
  readonly platform: string;
  readonly rootDigest: Digest;
  readonly pin: PinRecord | undefined;
}

/** Remembers what the next prefetch is to bring back. Only inside `commit`. */
export function rememberLost(environment: Environment, lost: LostReference): void {
  const key = Buffer.concat([Buffer.from("lost\0"), referenceKey(lost.reference, lost.platform)]);
  environment.tree("meta").put(key, encodeRecord(lost));
}
