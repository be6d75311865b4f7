import { randomBytes } from "node:crypto";
import { lstatSync, readdirSync, type Stats } from "node:fs";
import { open, rename, rm } from "node:fs/promises";
import { basename, dirname, join } from "node:path";
import { BpfcacheError } from "../core/errors.js";
import { writeFailure } from "./write-failure.js";

/** What marks a directory as a bundle: only such a one is ever replaced. */
export const layoutMarker = "oci-layout";
export const lockName = "bpfcache-lock.json";

/** A name beside `path` that nobody uses, on the same file system so that it can be renamed to it. */
export function temporaryNameFor(path: string): string {
  return join(dirname(path), `.${basename(path)}.${randomBytes(6).toString("hex")}.partial`);
}

/**
 * Throws USAGE unless a file, or a directory, can come to stand at `path`: nothing is there, or an empty directory,
 * or it may be overwritten and is of the same kind. A directory that is no bundle is never overwritten: a mistyped
 * path must not cost a home directory.
 */
export function requireWritable(path: string, kind: "file" | "directory", mayOverwrite: boolean): void {
  const there = statOf(path);
  if (there === undefined) return;
  const isKind = kind === "file" ? there.isFile() : there.isDirectory();
  if (!isKind) throw new BpfcacheError("USAGE", `${path} exists and is not a ${kind}`);
  const names = kind === "directory" ? readdirSync(path) : undefined;
  if (names?.length === 0) return;
  if (!mayOverwrite) {
    throw new BpfcacheError("USAGE", `${path} exists already`, { hint: "Replace it with --overwrite." });
  }
  if (names !== undefined && !names.includes(layoutMarker) && !names.includes(lockName)) {
    throw new BpfcacheError("USAGE", `${path} is a directory with something else in it; it is not replaced`);
  }
}

/** Puts a finished file or directory where it belongs. What was there is gone only when the new one stands. */
export async function moveIntoPlace(temporary: string, path: string): Promise<void> {
  const there = statOf(path);
  if (there?.isDirectory() === true && readdirSync(path).length > 0) {
    // A directory cannot be renamed over one that is not empty.
    const old = temporaryNameFor(path);
    await rename(path, old);
    await rename(temporary, path).catch(async (error: unknown) => {
      await rename(old, path);
      throw error;
    });
    await rm(old, { recursive: true, force: true });
  } else await rename(temporary, path);
  await syncDirectory(dirname(path));
}

/** Puts a file's name on the disk too, where the file system can. */
export async function syncDirectory(path: string): Promise<void> {
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EINVAL")) throw error; // Not on FUSE and SMB.
  } finally {
    await directory.close();
  }
}

/** Writes a small file all at once: the old content or the new one is there, never half. Throws USAGE or CACHE_FULL. */
export async function writeFileWhole(path: string, bytes: Uint8Array): Promise<void> {
  const temporary = temporaryNameFor(path);
  try {
    await writeDurably(temporary, bytes);
    await moveIntoPlace(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw writeFailure(error, path);
  }
}

/** Makes a file that did not exist, and returns when its bytes are on the disk. */
export async function writeDurably(path: string, bytes: Uint8Array): Promise<void> {
  const file = await open(path, "wx", 0o644);
  try {
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

function statOf(path: string): Stats | undefined {
  return lstatSync(path, { throwIfNoEntry: false });
}
