import { Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { BpfcacheError, throwIfAborted } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";
import { refusal } from "./refusal.js";
import { inflateZstd, isZstd } from "./zstd/inflate-zstd.js";

export type Compression = "gzip" | "zstd" | "none";

/** The largest pieces that come out. */
const chunkBytes = 64 * 1024;

/** Small archives compress without measure (a tar of zeros is one), so the ratio counts only from here. */
const ratioFloorBytes = 1024 * 1024;

export interface DecompressOptions {
  readonly limits: Limits;
  /** The most that may come out. */
  readonly maxBytes: number;
  /** How much goes in, where that is known; else the ratio is taken to what has gone in so far. */
  readonly packedBytes?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** What bytes are packed with, by the first four of them: media types and file names lie. */
export function compressionOf(head: Uint8Array): Compression {
  if (head[0] === 0x1f && head[1] === 0x8b) return "gzip";
  return isZstd(head) ? "zstd" : "none";
}

/**
 * What packed bytes unpack to, as it flows; only a chunk of it is in memory, and for zstd its window. The limits are
 * enforced on what comes out, as it comes out. Throws INVALID_IMAGE, or INTERRUPTED when the signal is aborted.
 */
export async function* decompress(
  packed: AsyncIterable<Uint8Array>,
  compression: Compression,
  { limits, maxBytes, packedBytes, signal }: DecompressOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const counter = { bytes: 0 };
  let unpacked = 0;
  for await (const chunk of unpack(counted(packed, counter), compression, limits, packedBytes)) {
    throwIfAborted(signal);
    unpacked += chunk.byteLength;
    if (unpacked > maxBytes) throw refusal(`it inflates to more than ${maxBytes} bytes`);
    const ratio = compression === "none" ? 1 : unpacked / (packedBytes ?? counter.bytes);
    if (unpacked > ratioFloorBytes && ratio > limits.inflationRatio)
      throw refusal(`it inflates to more than ${limits.inflationRatio} times its size`);
    yield chunk;
  }
}

async function* counted(
  chunks: AsyncIterable<Uint8Array>,
  counter: { bytes: number },
): AsyncGenerator<Uint8Array, void, void> {
  for await (const chunk of chunks) {
    counter.bytes += chunk.byteLength;
    yield chunk;
  }
}

function unpack(
  packed: AsyncIterable<Uint8Array>,
  compression: Compression,
  limits: Limits,
  packedBytes: number | undefined,
): AsyncIterable<Uint8Array> {
  switch (compression) {
    case "none":
      return packed;
    case "gzip":
      return gunzip(packed, packedBytes);
    case "zstd":
      return inflateZstd(packed, limits.zstdWindowBytes);
  }
}

async function* gunzip(
  packed: AsyncIterable<Uint8Array>,
  packedBytes: number | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  const stream = createGunzip({ chunkSize: chunkBytes });
  const source = Readable.from(packed, { objectMode: false });
  source.on("error", (error) => stream.destroy(error));
  source.pipe(stream);
  try {
    for await (const chunk of stream) yield chunk;
  } catch (cause) {
    if (cause instanceof BpfcacheError) throw cause;
    throw refusal(zlibReason(cause), cause);
  } finally {
    source.destroy();
    stream.destroy();
  }
  // zlib stops without a word at a zero byte behind the last member; Go's reader, and so containerd, does not. A file
  // that comes without its length may be padded: gzip's own program passes over zeros too.
  if (packedBytes !== undefined && stream.bytesWritten !== packedBytes)
    throw refusal("there are bytes after the end of the gzip stream");
}

function zlibReason(cause: unknown): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "Z_BUF_ERROR") return "the gzip stream is cut short";
  return "the gzip stream is damaged or has something else after its end";
}
