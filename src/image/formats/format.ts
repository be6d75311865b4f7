import type { Digest } from "../../core/digest.js";
import type { BpfcacheError } from "../../core/errors.js";
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
  readonly layers: readonly ImageLayer[];
}

export interface ImageLayer {
  readonly descriptor: Descriptor;
  readonly bytes: Uint8Array;
}

export interface ExtractedObject {
  readonly name: string;
  /** The layer it came in. */
  readonly layer: Digest;
  readonly digest: Digest;
  readonly bytes: Uint8Array;
  readonly facts: BpfObject;
}

/** A config or layer that is kept with an image's objects and is none itself. */
export interface Attachment {
  readonly name: string;
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  /** `btf` is an archive of BTF for kernels that have none. */
  readonly kind: "metadata" | "wasm" | "btf" | "other";
}

/** What a format makes of an image. */
export interface ExtractedImage {
  /** The format's name, as `inspect` prints it. */
  readonly format: string;
  /** What the image itself says it is for. */
  readonly platform: Platform | undefined;
  /** A container image's labels; of other formats, the manifest's annotations. */
  readonly labels: Readonly<Record<string, string>>;
  readonly objects: readonly ExtractedObject[];
  readonly attachments?: readonly Attachment[] | undefined;
  /** What the image says of itself beyond labels, as the plain data of its YAML. */
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
  /** Where labels or metadata claim something that the objects do not bear out, as sentences. */
  readonly disagreements?: readonly string[] | undefined;
  /** What else is odd but no reason to refuse, as sentences. */
  readonly warnings?: readonly string[] | undefined;
}

/** One way of shipping eBPF in an OCI image. */
export interface ImageFormat {
  /** Whether a manifest is in this format, judged by its media types alone. */
  recognizes(manifest: ImageManifest): boolean;
  /** Why no such image is taken in, when the manifest alone tells: then nothing else of it is fetched. */
  refusal?(manifest: ImageManifest): BpfcacheError | undefined;
  /** Throws INVALID_IMAGE, or DIGEST_MISMATCH when an unpacked layer is not what the config names. */
  extract(content: ImageContent, options: ExtractOptions): Promise<ExtractedImage>;
}

export interface ExtractOptions {
  readonly limits: Limits;
  /** The platform that the index names for this manifest, when it names just one. */
  readonly entryPlatform?: Platform | undefined;
  /** Labels or metadata that do not fit the objects are INVALID_IMAGE instead of a warning. */
  readonly strict?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}
