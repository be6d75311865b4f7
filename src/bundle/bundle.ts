import type { Limits } from "../core/limits.js";
import type { FailedImage } from "../pull/batch.js";
import type { Store } from "../store/store.js";
import type { ImageClosure, MissingManifest } from "./closure.js";
import type { ExportLock } from "./lock.js";
import type { SelectedImage } from "./selection.js";

export const exportFormats = ["oci-dir", "oci-archive", "docker-archive", "files"] as const;

/**
 * `oci-dir` and `oci-archive` are an OCI image layout as a directory or in a tar file, with all that is cached of each
 * image, byte for byte; `docker-archive` is what `docker save` makes; `files` is one `.o` with one JSON for each object.
 */
export type ExportFormat = (typeof exportFormats)[number];

/** What goes into a bundle. */
export interface BundleRequest {
  readonly store: Store;
  readonly closures: readonly ImageClosure[];
  readonly lock: ExportLock;
  /** What the bundle need not carry: the other side has it. */
  readonly base: ExportLock | undefined;
  readonly limits: Limits;
  readonly signal: AbortSignal | undefined;
  /** Puts a file into the bundle. */
  readonly write: (path: string, bytes: Uint8Array) => Promise<void>;
  /** Is told how much of an image is in the bundle: first of nothing, last of all of it. */
  readonly onImage: (image: SelectedImage, bytes: number, total: number) => void;
}

export interface ExportedImage {
  readonly reference: string;
  readonly rootDigest: string;
  readonly platforms: readonly string[];
  /** What of it was written; what images share is counted in each. */
  readonly bytes: number;
  /** What its indexes name and the cache does not have, so that the bundle has it neither. */
  readonly missing: readonly MissingManifest[];
}

/** What became of each image. */
export interface Bundled {
  readonly images: readonly ExportedImage[];
  readonly failed: readonly FailedImage[];
}
