import { chmodSync, chownSync, renameSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { dataFile, lockFile } from "./directory.js";
import { dataIdentity, identityOf, syncDirectory } from "./files.js";
import { writeLockFile } from "./new-files.js";
import type { Plan } from "./replacement.js";

/** Puts another data file in the place of the one there is, with its rights. Only with the claim. */
export function replaceData(directory: string, made: string): void {
  const path = join(directory, dataFile);
  takeRightsOf(path, made);
  renameSync(made, path);
  syncDirectory(directory);
}

/**
 * The second half of a replacement, and what is left to do when its process has died: once the data file is another
 * one, the lock file must be too, for it counts transactions and lists readers of the old one. It is replaced and never
 * missing, for who may only read the directory cannot make one. Before that nothing has happened.
 */
export function replaceLock(directory: string, plan: Plan): void {
  const path = join(directory, lockFile);
  if (dataIdentity(directory) === plan.data || plan.lock === undefined) return;
  if (identityOf(path) !== plan.lock) return;
  const made = writeLockFile(directory);
  takeRightsOf(path, made);
  renameSync(made, path);
  syncDirectory(directory);
}

/** Moves both files into `aside`, as far as that has not been done. */
export function moveAside(directory: string, aside: string, plan: Plan): void {
  for (const [file, identity] of [
    [dataFile, plan.data],
    [lockFile, plan.lock],
  ] as const) {
    const path = join(directory, file);
    if (identity !== undefined && identityOf(path) === identity) renameSync(path, join(aside, file));
  }
  syncDirectory(aside);
  syncDirectory(directory);
}

export function discard(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

function takeRightsOf(path: string, made: string): void {
  const { mode, uid, gid } = statSync(path);
  const own = statSync(made);
  if (own.uid !== uid || own.gid !== gid) chownSync(made, uid, gid);
  chmodSync(made, mode & 0o777);
}
