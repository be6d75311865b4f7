import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { BpfcacheError } from "../../core/errors.js";
import { chunksOf } from "./chunks.js";
import type { Files, ReadOptions } from "./files.js";

/** A directory. A planted symbolic link is not followed (go-containerregistry#2306). */
export class DirectoryFiles implements Files {
  constructor(readonly where: string) {}

  async size(path: string): Promise<number> {
    const file = await openRegular(join(this.where, path));
    try {
      return (await file.stat()).size;
    } finally {
      await file.close();
    }
  }

  async read(path: string, { maxBytes, signal }: ReadOptions): Promise<AsyncIterable<Uint8Array>> {
    return closing(await openRegular(join(this.where, path)), maxBytes, signal);
  }

  async close(): Promise<void> {
    // Every file is closed when its reading ends.
  }
}

async function* closing(
  file: FileHandle,
  maxBytes: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  try {
    yield* chunksOf(file, 0, maxBytes, signal);
  } finally {
    await file.close();
  }
}

async function openRegular(path: string): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT") throw new BpfcacheError("NOT_FOUND", `${path} does not exist`, { cause });
    if (code === "ELOOP") throw new BpfcacheError("INVALID_IMAGE", `${path} is a symbolic link`, { cause });
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BpfcacheError("NOT_FOUND", `cannot read ${path}: ${reason}`, { cause });
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new BpfcacheError("INVALID_IMAGE", `${path} is not a regular file`);
}
