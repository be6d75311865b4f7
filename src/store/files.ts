import { closeSync, fsyncSync, openSync, readdirSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../core/errors.js";
import { dataFile } from "./directory.js";
import { ownerOf } from "./owner-name.js";

/** Which file a path names, as device and inode: a file that takes another's place has another identity. */
export type FileIdentity = string;

export function identityOf(path: string): FileIdentity | undefined {
  const found = statSync(path, { throwIfNoEntry: false });
  return found && fileIdentity(found);
}

export function fileIdentity({ dev, ino }: { readonly dev: number; readonly ino: number }): FileIdentity {
  return `${dev}:${ino}`;
}

export function dataIdentity(directory: string): FileIdentity | undefined {
  return identityOf(join(directory, dataFile));
}

/** Makes renames in the directory outlast a power cut. */
export function syncDirectory(directory: string): void {
  const descriptor = openSync(directory, "r");
  try {
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
}

export function namesIn(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch (error) {
    if (codeOf(error) === "ENOENT" || codeOf(error) === "ENOTDIR") return [];
    throw error;
  }
}

/** A directory that is made beside the data file and given its last name by a rename. */
export function temporaryName(kind: string, owner: string): string {
  return `${kind}.${owner}.tmp`;
}

/** Removes what processes that have died had begun to make. */
export function removeLeftovers(directory: string): void {
  for (const name of namesIn(directory)) {
    const owner = /^[\w-]+\.(.+)\.tmp$/.exec(name)?.[1];
    if (owner !== undefined && ownerOf(owner)?.liveness === "dead")
      rmSync(join(directory, name), { recursive: true, force: true });
  }
}
