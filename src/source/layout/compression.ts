import { Readable, type Transform } from "node:stream";
import * as zlib from "node:zlib";
import { BpfcacheError, throwIfAborted } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";

export type Compression = "gzip" | "zstd" | "none";

/** Node 22.15 and later have it. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };

/** Small files compress without measure, so the ratio counts only from here. */
const ratioFloorBytes = 1024 * 1024;

export interface DecompressOptions {
  /** What it is, for messages. */
  readonly what: string;
  readonly limits: Limits;
  /** The most that may come out. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/** Told by the first four bytes. */
export function compressionOf(head: Uint8Array): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return "gzip";
  if (head[0] === 0x28 && head[1] === 0xb5 && head[2] === 0x2f && head[3] === 0xfd) return "zstd";
  return "none";
}

/**
 * What a file holds, unpacked if it is packed, as it flows; only a chunk of it is in memory. Throws INVALID_IMAGE for
 * what is damaged, cut short or unpacks to too much, and USAGE for zstd on a Node without it.
 */
export async function* decompress(
  packed: AsyncIterable<Uint8Array>,
  options: DecompressOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const { what, limits, maxBytes, signal } = options;
  let bytesIn = 0;
  const counted = async function* (
    chunks: AsyncIterable<Uint8Array>,
  ): AsyncGenerator<Uint8Array, void, void> {
    for await (const chunk of chunks) {
      bytesIn += chunk.byteLength;
      yield chunk;
    }
  };
  const { head, all } = await withHead(packed);
  const compression = compressionOf(head);
  let bytesOut = 0;
  for await (const chunk of unpacked(counted(all), compression, what)) {
    throwIfAborted(signal);
    bytesOut += chunk.byteLength;
    if (bytesOut > maxBytes) throw tooMuch(what, `more than ${maxBytes} bytes`);
    const ratio = compression === "none" ? 1 : bytesOut / Math.max(bytesIn, 1);
    if (bytesOut > ratioFloorBytes && ratio > limits.inflationRatio) {
      throw tooMuch(what, `more than ${limits.inflationRatio} times its size`);
    }
    yield chunk;
  }
}

/** The first four bytes, and all of them. */
async function withHead(
  chunks: AsyncIterable<Uint8Array>,
): Promise<{ readonly head: Uint8Array; readonly all: AsyncIterable<Uint8Array> }> {
  const iterator = chunks[Symbol.asyncIterator]();
  const taken: Uint8Array[] = [];
  for (let bytes = 0; bytes < 4; ) {
    const next = await iterator.next();
    if (next.done === true) break;
    taken.push(next.value);
    bytes += next.value.byteLength;
  }
  const all = async function* (): AsyncGenerator<Uint8Array, void, void> {
    try {
      yield* taken;
      for (let next = await iterator.next(); next.done !== true; next = await iterator.next())
        yield next.value;
    } finally {
      await iterator.return?.();
    }
  };
  return { head: Buffer.concat(taken).subarray(0, 4), all: all() };
}

async function* unpacked(
  packed: AsyncIterable<Uint8Array>,
  compression: Compression,
  what: string,
): AsyncGenerator<Uint8Array, void, void> {
  if (compression === "none") return yield* packed;
  const stream = decompressor(compression, what);
  const source = Readable.from(packed, { objectMode: false });
  source.on("error", (error) => stream.destroy(error));
  source.pipe(stream);
  try {
    for await (const chunk of stream) yield chunk;
  } catch (cause) {
    if (cause instanceof BpfcacheError) throw cause;
    const isShort = cause instanceof Error && "code" in cause && cause.code === "Z_BUF_ERROR";
    const reason = isShort ? "is cut short" : "is damaged or has something else after its end";
    throw new BpfcacheError("INVALID_IMAGE", `${what}: its ${compression} stream ${reason}`, { cause });
  } finally {
    source.destroy();
    stream.destroy();
  }
}

function decompressor(compression: "gzip" | "zstd", what: string): Transform {
  if (compression === "gzip") return zlib.createGunzip();
  if (createZstdDecompress !== undefined) return createZstdDecompress();
  throw new BpfcacheError("USAGE", `${what} is packed with zstd, which this version of Node cannot unpack`, {
    hint: "Unpack it first: zstd -dc FILE | bpfcache seed -",
  });
}

function tooMuch(what: string, how: string): BpfcacheError {
  return new BpfcacheError("INVALID_IMAGE", `${what} unpacks to ${how}`);
}
