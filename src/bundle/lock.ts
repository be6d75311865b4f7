import { z } from "zod";
import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { digestSchema } from "../image/descriptor.js";
import { readLockFile } from "../pull/lock.js";
import { manifestDigestOf } from "../store/records.js";
import { type ImageClosure, uniqueContent } from "./closure.js";
import { compare } from "./selection.js";

/** What an export carries, or its base has already: which references mean what, and everything that takes. */
export interface ExportLock {
  readonly version: 1;
  /** In order of references and platforms. */
  readonly images: readonly LockedImage[];
}

export interface LockedImage {
  readonly reference: string;
  readonly platform: string;
  readonly rootDigest: Digest;
  readonly manifestDigest: Digest;
  /** Digests of all manifests and blobs, sorted. */
  readonly content: readonly Digest[];
}

const lockSchema = z.object({
  version: z.literal(1),
  images: z.array(
    z.object({
      reference: z.string(),
      platform: z.string(),
      rootDigest: digestSchema,
      manifestDigest: digestSchema,
      content: z.array(digestSchema),
    }),
  ),
});

export function lockOf(closures: readonly ImageClosure[]): ExportLock {
  const images = closures.flatMap(({ image, rows }) =>
    rows.map(({ row, content }) => ({
      reference: image.reference,
      platform: row.platform,
      rootDigest: image.rootDigest,
      manifestDigest: manifestDigestOf(row),
      content: uniqueContent(content).map(({ digest }) => digest),
    })),
  );
  images.sort((a, b) => compare(a.reference, b.reference) || compare(a.platform, b.platform));
  return { version: 1, images };
}

/** The same lock always gives the same bytes. */
export function encodeLock(lock: ExportLock): Buffer {
  return Buffer.from(`${JSON.stringify(lock, null, 2)}\n`);
}

/** Throws USAGE when the file cannot be read or is no lock. */
export async function readLock(path: string): Promise<ExportLock> {
  const result = lockSchema.safeParse(await readLockFile(path));
  if (result.success) return result.data;
  throw new BpfcacheError("USAGE", `${path} is not the lock of an export`, {
    hint: "Name the .lock.json that stands beside an earlier export.",
  });
}

/**
 * What a cache that holds `base` still has while `next` is taken in: the content that some image of the base holds
 * before and after. What only a reference holds that moves may be gone before another one asks for it.
 */
export function heldThroughout(base: ExportLock, next: ExportLock): ReadonlySet<Digest> {
  const after = new Map(next.images.map((image) => [rowName(image), new Set(image.content)]));
  return new Set(
    base.images.flatMap((image) => {
      const kept = after.get(rowName(image));
      return kept === undefined ? image.content : image.content.filter((digest) => kept.has(digest));
    }),
  );
}

function rowName({ reference, platform }: LockedImage): string {
  return `${reference} ${platform}`;
}
