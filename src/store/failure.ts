import { statfsSync } from "node:fs";
import { BpfcacheError } from "../core/errors.js";
import { openForWriting } from "./header.js";

/** LMDB's own numbers (lmdb.h) and errno values, as lmdb-js puts them into `code`. */
const codes = {
  // PAGE_NOTFOUND, CORRUPTED, PANIC, INVALID, CURSOR_FULL, PAGE_FULL, INCOMPATIBLE, BAD_TXN: no sound tree is as deep, no
  // page as full and no tree of another kind. And EINVAL, as which lmdb-js reports PANIC: a write of the meta page failed,
  // and LMDB refuses this environment, even to readers, until it is closed and opened again.
  corrupt: new Set([-30_797, -30_796, -30_795, -30_793, -30_787, -30_786, -30_784, -30_782, 22]),
  full: new Set([-30_792, 27, 28, 122]), // MAP_FULL, EFBIG, ENOSPC, EDQUOT
  readersFull: -30_790,
  inputOutput: 5,
  denied: new Set([1, 13, 30]), // EPERM, EACCES, EROFS
};

/** What LMDB would have found if it looked, in its words (MDB_CORRUPTED). */
export class DamagedPages extends Error {
  readonly code = -30_796;
}

/** Below this an EIO is taken for what it usually is: a short write on a full disk. */
const lowSpaceBytes = 1024 * 1024;

/** What an error of lmdb-js means to a user of the cache. */
export function databaseFailure(thrown: unknown, directory: string): unknown {
  if (thrown instanceof BpfcacheError || !(thrown instanceof Error)) return thrown;
  const code = numberOf(thrown);
  if (code === undefined) return thrown;
  if (codes.full.has(code) || (code === codes.inputOutput && isLowOnSpace(directory))) {
    return new BpfcacheError("CACHE_FULL", `no space left for the cache in ${directory}`, {
      cause: thrown,
      hint: "Free some space, or remove images with bpfcache remove. What is cached stays readable.",
    });
  }
  if (codes.corrupt.has(code) || code === codes.inputOutput) {
    return new BpfcacheError("CACHE_CORRUPT", `the database in ${directory} is damaged: ${thrown.message}`, {
      cause: thrown,
      hint: openForWriting,
    });
  }
  if (code === codes.readersFull) {
    return new BpfcacheError("CACHE_BUSY", `too many processes read the cache in ${directory}`, {
      cause: thrown,
    });
  }
  if (codes.denied.has(code)) {
    return new BpfcacheError("USAGE", `this user may not use the cache in ${directory}`, { cause: thrown });
  }
  return thrown;
}

/** Whether LMDB has found no room for what it had to write. */
export function isFoundFull(thrown: unknown, directory: string): boolean {
  const failure = databaseFailure(thrown, directory);
  return failure !== thrown && failure instanceof BpfcacheError && failure.code === "CACHE_FULL";
}

/** Whether it is the database that LMDB finds damaged, and no value in it. */
export function isFoundByLmdb(failure: unknown): boolean {
  return (
    failure instanceof BpfcacheError && failure.code === "CACHE_CORRUPT" && failure.cause instanceof Error
  );
}

/** Node gives errno values negated, beside a name; lmdb-js gives them as they are. */
function numberOf(error: Error): number | undefined {
  if ("errno" in error && typeof error.errno === "number") return -error.errno;
  return "code" in error && typeof error.code === "number" ? error.code : undefined;
}

function isLowOnSpace(directory: string): boolean {
  try {
    const { bavail, bsize } = statfsSync(directory);
    return bavail * bsize < lowSpaceBytes;
  } catch {
    return false; // The directory itself is gone: certainly not a matter of space.
  }
}
