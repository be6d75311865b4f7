import { setImmediate } from "node:timers/promises";
import { constants, gunzipSync } from "node:zlib";
import type { Limits } from "../../core/limits.js";
import { type Compression, compressionOf, decompress } from "./decompress.js";
import { refusal } from "./refusal.js";

const sliceBytes = 64 * 1024;

/** What unpacks to no more is unpacked in a millisecond; to hand it to zlib's threads and back takes longer. */
const smallBytes = 512 * 1024;

/**
 * The archive that a layer is, in chunks. The limits are enforced on what comes out, as it comes out.
 * Throws INVALID_IMAGE, or INTERRUPTED when the signal is aborted.
 */
export function inflate(
  layer: Uint8Array,
  limits: Limits,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array, void, void> {
  const maxBytes = limits.inflatedBytes;
  const packedBytes = layer.byteLength;
  const compression = layerCompression(layer);
  const small = compression === "gzip" ? gunzipSmall(layer, maxBytes) : undefined;
  if (small !== undefined) return slices(small);
  return decompress(slices(layer), compression, { limits, maxBytes, packedBytes, signal });
}

/** All of a small archive; undefined for what is large or in any way wrong, which shows again as it flows. */
function gunzipSmall(layer: Uint8Array, maxBytes: number): Uint8Array | undefined {
  if (layer.byteLength > smallBytes) return undefined;
  try {
    const maxOutputLength = Math.min(smallBytes, maxBytes);
    // With room for all that is said to come out, and one more to see the end, it is inflated in one go.
    const chunkSize = Math.max(
      constants.Z_DEFAULT_CHUNK,
      Math.min(inflatedBytes(layer), maxOutputLength) + 1,
    );
    // With `info` it tells what it has read too, which Node's types do not say.
    const options = { maxOutputLength, chunkSize, info: true };
    const { buffer, engine } = gunzipSync(layer, options) as unknown as Gunzipped;
    return engine.bytesWritten === layer.byteLength ? buffer : undefined;
  } catch {
    return undefined;
  }
}

/** How much comes out of the last member, by the last four bytes, which may lie (RFC 1952, section 2.3.1, ISIZE). */
function inflatedBytes(layer: Uint8Array): number {
  return layer.byteLength < 4 ? 0 : Buffer.from(layer.subarray(-4)).readUInt32LE();
}

interface Gunzipped {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}

/** By the first bytes: media types lie, and some layers have none worth reading. Throws INVALID_IMAGE. */
function layerCompression(layer: Uint8Array): Compression {
  const compression = compressionOf(layer);
  const isTar = Buffer.from(layer.subarray(257, 262)).toString("latin1") === "ustar";
  if (compression !== "none" || isTar) return compression;
  throw refusal(layer.byteLength === 0 ? "it is empty" : "it is neither gzip nor zstd nor tar");
}

async function* slices(layer: Uint8Array): AsyncGenerator<Uint8Array, void, void> {
  for (let at = 0; at < layer.byteLength; at += sliceBytes) {
    // Without a pause now and then nobody could abort: streams alone never leave the microtask queue.
    if (at % (16 * sliceBytes) === 0) await setImmediate();
    yield layer.subarray(at, at + sliceBytes);
  }
}
