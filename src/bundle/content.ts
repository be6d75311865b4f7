import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import type { BlobKind, Store } from "../store/store.js";
import type { StoredManifest } from "../store/values.js";

/** A manifest or blob of an image. */
export interface ContentItem {
  readonly kind: "manifest" | BlobKind;
  readonly digest: Digest;
  readonly size: number;
}

/** A manifest for an export of `reference`. Throws NOT_CACHED, or CACHE_CORRUPT: damaged content is never exported. */
export function requireManifest(store: Store, digest: Digest, reference: string): StoredManifest {
  return required(() => store.manifest(digest), "manifest", digest, reference);
}

/** A config or layer, likewise. */
export function requireBlob(store: Store, kind: BlobKind, digest: Digest, reference: string): Buffer {
  return required(() => store.blob(kind, digest), kind, digest, reference);
}

export function requireContent(store: Store, { kind, digest }: ContentItem, reference: string): Buffer {
  if (kind === "manifest") return requireManifest(store, digest, reference).bytes;
  return requireBlob(store, kind, digest, reference);
}

function required<T>(read: () => T | undefined, kind: string, digest: Digest, reference: string): T {
  let found: T | undefined;
  try {
    found = read();
  } catch (error) {
    throw error instanceof BpfcacheError && error.code === "CACHE_CORRUPT"
      ? damaged(error, reference)
      : error;
  }
  if (found !== undefined) return found;
  throw new BpfcacheError("NOT_CACHED", `the ${kind} ${digest} was removed while the image was exported`, {
    reference,
    hint: "Try again.",
  });
}

function damaged(cause: BpfcacheError, reference: string): BpfcacheError {
  return new BpfcacheError("CACHE_CORRUPT", `${cause.message}; damaged content is not exported`, {
    reference,
    expected: cause.expected,
    found: cause.found,
    cause,
    hint: "Remove the image and pull it again, or export the others without it.",
  });
}
