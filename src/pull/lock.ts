import { readFile } from "node:fs/promises";
import { z } from "zod";
import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { digestSchema } from "../image/descriptor.js";

/** What references are to mean: root digests by canonical reference. */
export type Lock = ReadonlyMap<string, Digest>;

/** The lock that stands beside an export has more in it, and serves too. */
const lockSchema = z.object({
  version: z.literal(1),
  images: z.array(z.object({ reference: z.string(), rootDigest: digestSchema })),
});

/** The same lock always gives the same bytes. */
export function encodeLock(lock: ReadonlyMap<string, string>): string {
  const images = [...lock]
    .sort(([a], [b]) => (a < b ? -1 : Number(a > b)))
    .map(([reference, rootDigest]) => ({ reference, rootDigest }));
  return `${JSON.stringify({ version: 1, images }, null, 2)}\n`;
}

/** Throws USAGE when the file cannot be read or is no JSON. */
export async function readLockFile(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BpfcacheError("USAGE", `cannot read the lock ${path}: ${reason}`, { cause });
  }
}

/** Throws USAGE when the file cannot be read or is no lock. */
export async function readLock(path: string): Promise<Lock> {
  const lock = lockSchema.safeParse(await readLockFile(path));
  if (!lock.success)
    throw new BpfcacheError("USAGE", `${path} is not a lock`, { hint: "Write one with --lock." });
  return new Map(lock.data.images.map(({ reference, rootDigest }) => [reference, rootDigest]));
}

/** What the lock says that a reference, in canonical form, means. Throws USAGE when it does not say. */
export function lockedDigest(lock: Lock, reference: string): Digest {
  const digest = lock.get(reference);
  if (digest !== undefined) return digest;
  throw new BpfcacheError("USAGE", "the lock does not have this reference", {
    reference,
    hint: "Prefetch without --locked to write it anew.",
  });
}
