import {
  accessSync,
  chmodSync,
  chownSync,
  constants,
  existsSync,
  mkdirSync,
  mkdtempSync,
  statfsSync,
  statSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { BpfcacheError, codeOf } from "../core/errors.js";

export const dataFile = "data.mdb";
export const lockFile = "lock.mdb";

/** More than the first transactions of a new cache take. */
const minimumFreeBytes = 1024 * 1024;

export function makeTemporaryDirectory(): string {
  return mkdtempSync(join(tmpdir(), "bpfcache-"));
}

/**
 * Makes the cache directory private (0700), or checks one that exists: others must not be able to write in it, for
 * they could then replace what loaders run in the kernel. Throws USAGE, or CACHE_FULL when there is no room to begin.
 */
export function prepareDirectory(directory: string): void {
  try {
    if (!existsSync(directory)) mkdirSync(directory, { recursive: true, mode: 0o700 });
  } catch (cause) {
    const isFull = codeOf(cause) === "ENOSPC" || codeOf(cause) === "EDQUOT";
    const message = `cannot create the cache directory ${directory}: ${messageOf(cause)}`;
    throw new BpfcacheError(isFull ? "CACHE_FULL" : "USAGE", message, {
      cause,
      hint: `${isFull ? "Free some space, or choose" : "Choose"} another one with --cache-dir or BPFCACHE_DIR.`,
    });
  }
  refuseWritableByOthers(directory);
  requireAccess(directory, constants.W_OK | constants.X_OK, "write in");
  if (!existsSync(join(directory, dataFile))) requireFreeSpace(directory, 0, "a cache");
}

/** Throws CACHE_FULL unless there is room for `bytes` and a little more. */
export function requireFreeSpace(directory: string, bytes: number, purpose: string): void {
  const { bavail, bsize } = statfsSync(directory);
  if (bavail * bsize >= bytes + minimumFreeBytes) return;
  throw new BpfcacheError("CACHE_FULL", `no space left for ${purpose} in ${directory}`, {
    hint: `It needs ${bytes + minimumFreeBytes} bytes; ${bavail * bsize} are free.`,
  });
}

/** Checks a directory that is only read. Throws NOT_CACHED when there is no cache, USAGE when it may not be read safely. */
export function checkReadableDirectory(directory: string): void {
  requireDataFile(directory);
  refuseWritableByOthers(directory);
  requireAccess(join(directory, dataFile), constants.R_OK, "read");
  // LMDB registers readers in the lock file. A process that cannot write there would silently read without a lock
  // and get torn pages while someone writes (mdb.c: EACCES or EROFS with MDB_RDONLY means MDB_NOLOCK).
  if (existsSync(join(directory, lockFile)))
    requireAccess(join(directory, lockFile), constants.R_OK | constants.W_OK, "lock");
  else requireAccess(directory, constants.W_OK | constants.X_OK, "make a lock file in");
}

function requireDataFile(directory: string): void {
  try {
    statSync(join(directory, dataFile));
  } catch (cause) {
    const code = codeOf(cause);
    if (code === "ENOENT" || code === "ENOTDIR") {
      throw new BpfcacheError("NOT_CACHED", `there is no cache in ${directory}`, {
        hint: "Fill it with bpfcache prefetch or bpfcache seed, or name another one.",
      });
    }
    throw new BpfcacheError("USAGE", `this user may not enter ${directory}`, { cause, hint: asOwner });
  }
}

const asOwner = "Run as the user or group that owns the cache directory.";

/**
 * Gives the environment's files the rights that its directory has, whatever umask they were made under. Others get
 * none. A group that may read the directory may read data.mdb, and write it only if it may write the directory too;
 * lock.mdb it may write in both cases, for readers register there. Done by the files' owner and by root, who also gives
 * them to the directory's owner.
 */
export function setFileRights(directory: string): void {
  for (const file of [dataFile, lockFile] as const) setRightsOf(directory, file);
}

/** Gives the file of that name the rights of `file`, whose place it is to take. */
export function setRightsOf(
  directory: string,
  file: typeof dataFile | typeof lockFile,
  name: string = file,
): void {
  const shared = statSync(directory).mode & 0o060;
  const isShared = (shared & 0o040) !== 0;
  setRights(directory, name, isShared ? (file === dataFile ? shared : 0o060) : 0);
}

/** Makes a directory with the rights of `directory` for its group, unless it is there. */
export function makeDirectoryWithin(directory: string, name: string): void {
  try {
    // Not `recursive`: with that Node says ENOENT for whatever a failing disk says.
    mkdirSync(join(directory, name), { mode: 0o700 });
  } catch (error) {
    if (codeOf(error) !== "EEXIST") throw error;
  }
  setRights(directory, name, statSync(directory).mode & 0o070, 0o700);
}

function setRights(directory: string, name: string, groupMode: number, ownerMode: number = 0o600): void {
  const parent = statSync(directory);
  const path = join(directory, name);
  const found = statSync(path, { throwIfNoEntry: false });
  const user = process.geteuid?.();
  if (found === undefined || user === undefined || (user !== 0 && user !== found.uid)) return;
  const owner = user === 0 ? parent.uid : found.uid;
  if (found.uid !== owner || (groupMode !== 0 && found.gid !== parent.gid)) {
    try {
      chownSync(path, owner, groupMode === 0 ? found.gid : parent.gid);
    } catch {
      groupMode = 0; // Not a member of that group: no other group is given its rights.
    }
  }
  if ((found.mode & 0o777) !== (ownerMode | groupMode)) chmodSync(path, ownerMode | groupMode);
}

function refuseWritableByOthers(directory: string): void {
  if ((statSync(directory).mode & 0o002) !== 0) {
    throw new BpfcacheError("USAGE", `the cache directory ${directory} is writable by every user`, {
      hint: `Make it private: chmod 0700 ${directory}`,
    });
  }
}

function requireAccess(path: string, mode: number, verb: string): void {
  try {
    accessSync(path, mode);
  } catch (cause) {
    throw new BpfcacheError("USAGE", `this user may not ${verb} ${path}`, {
      cause,
      hint: asOwner,
    });
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
