import { closeSync, fsyncSync, linkSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { basename, join } from "node:path";
import { BpfcacheError, codeOf } from "../core/errors.js";
import { dataFile, lockFile, setRightsOf } from "./directory.js";
import { syncDirectory, temporaryName } from "./files.js";
import { emptyData } from "./header.js";
import { ownName } from "./owner-name.js";

/** Room for the 512 readers of `openRoot` and what LMDB has before them. */
const lockFileBytes = 9 * 4096;

/** What link(2) fails with where the file system has none. */
const noLinks: ReadonlySet<unknown> = new Set(["EPERM", "EOPNOTSUPP", "ENOTSUP", "ENOSYS"]);

/**
 * Makes a lock file for LMDB to fill, if there is none. LMDB maps it into memory, and would make one of holes: where
 * there is no room on the disk for a page that is touched for the first time, the process ends with SIGBUS, be it one
 * that only reads. One that is written has all its room from the start.
 */
export function makeLockFile(directory: string): void {
  makeOnce(directory, lockFile, () => writeLockFile(directory));
}

/**
 * Makes a data file with nothing in it, if there is none. LMDB would write one in its place, page by page: when the
 * second cannot be written, lmdb-js frees the environment twice, and what it leaves can never be opened.
 */
export function makeDataFile(directory: string): void {
  makeOnce(directory, dataFile, () => writeNew(directory, "data", emptyData()));
}

/** One to be moved into its place; returns its path. */
export function writeLockFile(directory: string): string {
  return writeNew(directory, "lock", Buffer.alloc(lockFileBytes));
}

/**
 * The file appears whole and with its rights, or not at all, and never in the place of one that is there. Throws USAGE
 * where there are no hard links, which alone give that.
 */
function makeOnce(directory: string, name: typeof dataFile | typeof lockFile, write: () => string): void {
  const path = join(directory, name);
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return;
  const made = write();
  try {
    setRightsOf(directory, name, basename(made));
    link(made, path);
    syncDirectory(directory);
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  } finally {
    rmSync(made, { force: true });
  }
}

function link(made: string, path: string): void {
  try {
    linkSync(made, path);
  } catch (error) {
    if (!noLinks.has(codeOf(error))) throw error;
    throw new BpfcacheError("USAGE", `there are no hard links on the file system of ${path}`, {
      cause: error,
      hint: "Have the cache on one that has them, such as ext4, XFS, Btrfs or tmpfs; FAT and exFAT have none.",
    });
  }
}

function writeNew(directory: string, kind: string, bytes: Buffer): string {
  const made = join(directory, temporaryName(kind, ownName()));
  try {
    const file = openSync(made, "w", 0o600);
    try {
      for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    rmSync(made, { force: true });
    throw error;
  }
  return made;
}
