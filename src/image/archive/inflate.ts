import type { Readable, Transform } from "node:stream";
import { setImmediate } from "node:timers/promises";
import * as zlib from "node:zlib";
import { throwIfAborted } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";
import { ArchiveRefusal, refusal } from "./refusal.js";

export type Compression = "gzip" | "zstd" | "none";

const chunkBytes = 64 * 1024;

/**
 * What is so small is inflated at once, and not through the thread pool, which takes longer than the work. Even if all of
 * it is a bomb, the limit on the ratio ends it after a fraction of a second.
 */
const atOnceBytes = 64 * 1024;

/** Small archives compress without measure (a tar of zeros is one), so the ratio counts only from here. */
const ratioFloorBytes = 1024 * 1024;

/** Node 22.15 and later have it; on older ones zstd layers are refused. */
const { createZstdDecompress } = zlib as { createZstdDecompress?: () => Transform };

/** What a layer is, by its first bytes: media types lie, and some layers have none worth reading. Throws INVALID_IMAGE. */
export function compressionOf(layer: Uint8Array): Compression {
  if (layer[0] === 0x1f && layer[1] === 0x8b) return "gzip";
  if (layer[0] === 0x28 && layer[1] === 0xb5 && layer[2] === 0x2f && layer[3] === 0xfd) return "zstd";
  if (Buffer.from(layer.subarray(257, 262)).toString("latin1") === "ustar") return "none";
  throw refusal(layer.byteLength === 0 ? "it is empty" : "it is neither gzip nor tar");
}

/**
 * The layer's tar archive in chunks. The limits are enforced on what comes out, as it comes out.
 * Throws INVALID_IMAGE, or INTERRUPTED when the signal is aborted.
 */
export async function* inflate(
  layer: Uint8Array,
  limits: Limits,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  const compression = compressionOf(layer);
  const maxByRatio =
    compression === "none"
      ? Number.POSITIVE_INFINITY
      : Math.max(ratioFloorBytes, limits.inflationRatio * layer.byteLength);
  const tooLong = (isByRatio: boolean): Error =>
    refusal(
      isByRatio
        ? `it inflates to more than ${limits.inflationRatio} times its size`
        : `it inflates to more than ${limits.inflatedBytes} bytes`,
    );
  if (compression === "gzip" && layer.byteLength <= atOnceBytes) {
    const inflated = gunzipAtOnce(layer, Math.min(limits.inflatedBytes, maxByRatio));
    if (inflated === undefined) throw tooLong(maxByRatio < limits.inflatedBytes);
    yield inflated;
    return;
  }
  let inflated = 0;
  for await (const chunk of chunksOf(layer, compression)) {
    throwIfAborted(signal);
    inflated += chunk.byteLength;
    if (inflated > limits.inflatedBytes) throw tooLong(false);
    if (inflated > maxByRatio) throw tooLong(true);
    yield chunk;
  }
}

function chunksOf(layer: Uint8Array, compression: Compression): AsyncIterable<Uint8Array> {
  switch (compression) {
    case "none":
      return slices(layer);
    case "gzip":
      return decompressed(layer, zlib.createGunzip({ chunkSize: chunkBytes }), "gzip");
    case "zstd":
      if (createZstdDecompress === undefined) throw refusal("zstd layers are not supported yet on this Node");
      return decompressed(layer, createZstdDecompress(), "zstd");
  }
}

/** Undefined when it is more than so much. */
function gunzipAtOnce(layer: Uint8Array, maxBytes: number): Uint8Array | undefined {
  try {
    const options = { maxOutputLength: maxBytes, info: true };
    // With `info` it tells what it has read too, which Node's types do not say.
    const { buffer, engine } = zlib.gunzipSync(layer, options) as unknown as {
      readonly buffer: Buffer;
      readonly engine: { readonly bytesWritten: number };
    };
    requireAllRead(engine.bytesWritten, layer, "gzip");
    return buffer;
  } catch (cause) {
    if (cause instanceof ArchiveRefusal) throw cause;
    if (cause instanceof Error && "code" in cause && cause.code === "ERR_BUFFER_TOO_LARGE") return undefined;
    throw refusal(zlibReason(cause, "gzip"), cause);
  }
}

async function* slices(layer: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < layer.byteLength; at += chunkBytes) {
    // Without a pause now and then nobody could abort: streams alone never leave the microtask queue.
    if (at % (16 * chunkBytes) === 0) await setImmediate();
    yield layer.subarray(at, at + chunkBytes);
  }
}

async function* decompressed(
  layer: Uint8Array,
  stream: Readable & Transform & { readonly bytesWritten?: number },
  name: string,
): AsyncGenerator<Uint8Array, void, void> {
  stream.end(layer);
  try {
    for await (const chunk of stream) yield chunk;
  } catch (cause) {
    throw refusal(zlibReason(cause, name), cause);
  }
  requireAllRead(stream.bytesWritten, layer, name);
}

/** zlib stops without a word at a zero byte behind the last member; Go's reader, and so containerd, does not. */
function requireAllRead(bytesRead: number | undefined, layer: Uint8Array, name: string): void {
  if (bytesRead !== layer.byteLength) throw refusal(`there are bytes after the end of the ${name} stream`);
}

function zlibReason(cause: unknown, name: string): string {
  const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
  if (code === "Z_BUF_ERROR") return `the ${name} stream is cut short`;
  return `the ${name} stream is damaged or has something else after its end`;
}
