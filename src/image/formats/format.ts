import type { Digest } from "../../core/digest.js";
import type { Limits } from "../../core/limits.js";
import type { Platform } from "../../core/platform.js";
import type { Descriptor } from "../descriptor.js";
import type { BpfObject } from "../elf/bpf-object.js";
import type { ImageManifest } from "../manifest.js";

/** A manifest with its content, every byte of it already checked against its descriptor. */
export interface ImageContent {
  readonly manifest: ImageManifest;
  readonly config: Uint8Array;
  /** In the manifest's order. */
  readonly layers: readonly { readonly descriptor: Descriptor; readonly bytes: Uint8Array }[];
}

export interface ExtractedObject {
  readonly name: string;
  /** The layer it came in. */
  readonly layer: Digest;
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly facts: BpfObject;
}

/** What a format makes of an image. */
export interface ExtractedImage {
  /** The format's name, as `inspect` prints it. */
  readonly format: string;
  /** What the image itself says it is for. */
  readonly platform: Platform | undefined;
  readonly labels: Readonly<Record<string, string>>;
  readonly objects: readonly ExtractedObject[];
  /** What is odd but no reason to refuse, as sentences. */
  readonly warnings: readonly string[];
}

/** One way of shipping eBPF in an OCI image. */
export interface ImageFormat {
  /** Whether a manifest is in this format, judged by its media types alone. */
  recognizes(manifest: ImageManifest): boolean;
  /** Throws INVALID_IMAGE, or DIGEST_MISMATCH when an unpacked layer is not what the config names. */
  extract(content: ImageContent, options: ExtractOptions): Promise<ExtractedImage>;
}

export interface ExtractOptions {
  readonly limits: Limits;
  readonly signal?: AbortSignal | undefined;
}
