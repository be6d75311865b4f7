import { linkSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../core/errors.js";
import { lockFile } from "./directory.js";
import { temporaryName } from "./files.js";
import { ownName } from "./owner-name.js";

/** Room for the 512 readers of `openRoot` and what LMDB has before them. */
const lockFileBytes = 9 * 4096;

/**
 * Makes a lock file for LMDB to fill, if there is none. LMDB maps it into memory, and would make one of holes: where
 * there is no room on the disk for a page that is touched for the first time, the process ends with SIGBUS, be it one
 * that only reads. One that is written has all its room from the start. It appears whole or not at all, and never in
 * the place of one that is there.
 */
export function makeLockFile(directory: string): void {
  const path = join(directory, lockFile);
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return;
  const made = writeLockFile(directory);
  try {
    linkSync(made, path);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  } finally {
    rmSync(made, { force: true });
  }
}

/** One to be moved into its place; returns its path. */
export function writeLockFile(directory: string): string {
  const made = join(directory, temporaryName("lock", ownName()));
  try {
    writeFileSync(made, Buffer.alloc(lockFileBytes), { mode: 0o600 });
  } catch (error) {
    rmSync(made, { force: true });
    throw error;
  }
  return made;
}
