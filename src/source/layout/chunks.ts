import type { FileHandle } from "node:fs/promises";
import { throwIfAborted } from "../../core/errors.js";

const chunkBytes = 256 * 1024;

/** The bytes of an open file from an offset on, as many as there are, up to `maxBytes`. The file stays open. */
export async function* chunksOf(
  file: FileHandle,
  offset: number,
  maxBytes: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  const end = offset + maxBytes;
  for (let at = offset; at < end; ) {
    throwIfAborted(signal);
    const length = Math.min(chunkBytes, end - at);
    const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(length), 0, length, at);
    if (bytesRead === 0) return;
    at += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

export async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  yield bytes;
}
