import { statSync } from "node:fs";
import { join } from "node:path";
import { type Copy, copyMeanwhile, copyNow } from "./copy.js";
import { dataFile, requireFreeSpace } from "./directory.js";
import type { Environment } from "./environment.js";
import { databaseFailure } from "./failure.js";
import { dataIdentity } from "./files.js";
import { discard, replaceData } from "./replace-files.js";

/** The JSON document `compact`. */
export interface Compaction {
  readonly fileBytesBefore: number;
  readonly fileBytesAfter: number;
  /** Given back to the file system; nothing when there was nothing to give. */
  readonly bytesFreed: number;
}

const kind = "compact";

/** How often a copy is made while others may write, before they are made to wait for one. */
const copiesMeanwhile = 2;

/**
 * Puts a compact copy in the place of the data file: LMDB never makes its file smaller. Others read and write all the
 * while. The copy is taken as it is only when nobody has written since it was begun; after a second one that somebody
 * wrote during, writers and new readers wait for the third. The old file's space comes back when no process has it open
 * any more: readers let go of it at their next read. Throws CACHE_FULL and CACHE_CORRUPT with nothing changed, and
 * CACHE_BUSY.
 */
export async function compact(environment: Environment): Promise<Compaction> {
  try {
    return await replaceByCopy(environment);
  } catch (error) {
    throw databaseFailure(error, environment.directory);
  }
}

async function replaceByCopy(environment: Environment): Promise<Compaction> {
  const { directory } = environment;
  environment.clearDeadReaders();
  requireFreeSpace(directory, environment.liveBytes, "a copy of the cache");
  const fileBytesBefore = fileBytes(directory);
  let isDone = false;
  for (let i = 0; i < copiesMeanwhile && !isDone; i++) {
    const copy = await copyMeanwhile(directory, kind);
    isDone = environment.exclusively(kind, () => take(environment, copy));
  }
  if (!isDone) environment.exclusively(kind, () => take(environment, copyNow(directory, kind)));
  const fileBytesAfter = fileBytes(directory);
  return { fileBytesBefore, fileBytesAfter, bytesFreed: Math.max(0, fileBytesBefore - fileBytesAfter) };
}

/** Whether the copy was still exact, and is what everybody opens from now on. */
function take(environment: Environment, copy: Copy): boolean {
  const { directory } = environment;
  const isExact = copy.data === dataIdentity(directory) && copy.transaction === environment.lastTransaction;
  if (isExact) replaceData(directory, join(copy.path, dataFile));
  discard(copy.path);
  return isExact;
}

function fileBytes(directory: string): number {
  return statSync(join(directory, dataFile)).size;
}
