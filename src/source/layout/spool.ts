import { randomUUID } from "node:crypto";
import { type FileHandle, open, statfs, unlink } from "node:fs/promises";
import { join } from "node:path";
import { BpfcacheError } from "../../core/errors.js";

/** How much is written between two looks at the free space, and how much of it is left to others. */
const stepBytes = 64 * 1024 * 1024;

/**
 * Writes a stream into a private file that has no name any more when it is written: it is gone with its last handle,
 * however the process ends. Throws CACHE_FULL, and what the stream throws.
 */
export async function spool(chunks: AsyncIterable<Uint8Array>, directory: string): Promise<FileHandle> {
  const path = join(directory, `.spool-${randomUUID()}`);
  const file = await open(path, "wx+", 0o600);
  try {
    await unlink(path);
    await writeAll(file, chunks, directory);
    return file;
  } catch (error) {
    await file.close();
    throw isOutOfSpace(error) ? noSpace(directory, error) : error;
  }
}

async function writeAll(
  file: FileHandle,
  chunks: AsyncIterable<Uint8Array>,
  directory: string,
): Promise<void> {
  let untilCheck = 0;
  for await (const chunk of chunks) {
    if (untilCheck <= 0) {
      const { bavail, bsize } = await statfs(directory);
      if (bavail * bsize < stepBytes) throw noSpace(directory);
      untilCheck = stepBytes / 2;
    }
    untilCheck -= chunk.byteLength;
    for (let at = 0; at < chunk.byteLength; ) at += (await file.write(chunk, at)).bytesWritten;
  }
}

function isOutOfSpace(error: unknown): boolean {
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  return code === "ENOSPC" || code === "EDQUOT" || code === "EFBIG";
}

function noSpace(directory: string, cause?: unknown): BpfcacheError {
  return new BpfcacheError("CACHE_FULL", `no space left in ${directory} to unpack the archive`, {
    cause,
    hint: "Free some space, or unpack the archive elsewhere and seed the directory.",
  });
}
