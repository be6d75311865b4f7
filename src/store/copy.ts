import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { BpfcacheError } from "../core/errors.js";
import { type ChildEnd, faultShownBy, runChild, startChild, unexplained } from "./child.js";
import { dataFile } from "./directory.js";
import { dataIdentity, type FileIdentity, temporaryName } from "./files.js";
import { damaged } from "./header.js";
import { ownName } from "./owner-name.js";

/** A compact copy of an environment, on the disk, in a directory beside its files. */
export interface Copy {
  readonly path: string;
  /** Of which data file, and of which of its transactions: while that is the newest one, the copy is exact. */
  readonly data: FileIdentity | undefined;
  readonly transaction: number;
}

/** Hours: a child that copies is doing what it should, however long it takes. */
const timeoutMs = 6 * 3_600_000;

/** Copies in a child process, for LMDB's own copying would have this one die of damage. Throws CACHE_CORRUPT, CACHE_FULL. */
export function copyNow(directory: string, kind: string): Copy {
  const data = dataIdentity(directory);
  const path = makeEmpty(directory, kind);
  return outcome(directory, path, data, runChild("copy-compact.js", [directory, path], timeoutMs));
}

/** The same while this process goes on with other things. */
export async function copyMeanwhile(directory: string, kind: string): Promise<Copy> {
  const data = dataIdentity(directory);
  const path = makeEmpty(directory, kind);
  return outcome(directory, path, data, await startChild("copy-compact.js", [directory, path]));
}

function makeEmpty(directory: string, kind: string): string {
  const path = join(directory, temporaryName(kind, ownName()));
  mkdirSync(path, { mode: 0o700 });
  return path;
}

function outcome(directory: string, path: string, data: FileIdentity | undefined, end: ChildEnd): Copy {
  if (end.status === 0) return { path, data, transaction: Number(end.stdout) };
  rmSync(path, { recursive: true, force: true });
  if (end.status === 28) {
    throw new BpfcacheError("CACHE_FULL", `no space left for a copy of the cache in ${directory}`, {
      hint: "Nothing was changed.",
    });
  }
  const fault = faultShownBy(end);
  throw fault === undefined
    ? unexplained(`copying ${directory}`, end)
    : damaged(join(directory, dataFile), fault);
}
