import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { codeOf } from "../core/errors.js";
import { makeDirectoryWithin } from "./directory.js";
import { namesIn, syncDirectory } from "./files.js";
import { ownerOf, ownName } from "./owner-name.js";

/**
 * Marks of processes that may write: a file each in `open/`, from before LMDB is opened until it is closed. A mark whose
 * process has died tells of an unclean end, be it that damage killed it. Making and removing one takes a tenth of a
 * millisecond; only before the first write is it brought to the disk, so that it outlasts a power cut that the write
 * may not outlast.
 */
const marksName = "open";

/** Left by a process that met damage in use, for the next one that opens for writing to look into. */
const suspicion = "suspect";

const diskFailures = ["ENOSPC", "EDQUOT", "EIO"];

export class OpenMark {
  readonly #directory: string;
  readonly #name = ownName();
  #isOnDisk = false;

  /**
   * Marks this process. A full or failing disk has no mark: a cache must be opened for images to be removed from it, or
   * to be read.
   */
  constructor(directory: string) {
    this.#directory = directory;
    tryOnDisk(() => putMark(directory, this.#name));
  }

  /** To be called before every write. */
  bringToDisk(): void {
    if (this.#isOnDisk) return;
    this.#isOnDisk = true;
    if (marksIn(this.#directory).length === 0) return;
    tryOnDisk(() => syncDirectory(join(this.#directory, marksName)));
  }

  remove(): void {
    removeMarks(this.#directory, [this.#name]);
  }
}

/** Has the next open for writing examine the files, as far as this user may say so. */
export function markAsSuspect(directory: string): void {
  try {
    putMark(directory, suspicion);
  } catch {
    // A reader without the right to write, or a full disk. The failure itself is reported.
  }
}

/** Whose unclean end matters: of all that wrote, or only of those that another boot of the host has ended. */
export type UncleanEnd = "any" | "another boot";

/** The marks that were left behind. */
export function abandonedMarks(directory: string, kind: UncleanEnd): string[] {
  return marksIn(directory).filter((name) => {
    if (name === suspicion) return true;
    const owner = ownerOf(name);
    if (owner === undefined || owner.liveness !== "dead") return false;
    return kind === "any" || !owner.isOfThisBoot;
  });
}

/** Removes marks, as far as this user may. */
export function removeMarks(directory: string, names: readonly string[]): void {
  for (const name of names) {
    try {
      rmSync(join(directory, marksName, name), { force: true });
    } catch {
      // A reader without the right to write: every one of them looks, until somebody opens it for writing.
    }
  }
}

/** None for a user who may not see them. */
function marksIn(directory: string): string[] {
  try {
    return namesIn(join(directory, marksName));
  } catch (error) {
    if (codeOf(error) === "EACCES") return [];
    throw error;
  }
}

function tryOnDisk(work: () => void): void {
  try {
    work();
  } catch (error) {
    if (!diskFailures.includes(String(codeOf(error)))) throw error;
  }
}

function putMark(directory: string, name: string): void {
  makeDirectoryWithin(directory, marksName);
  writeFileSync(join(directory, marksName, name), "", { mode: 0o600 });
}
