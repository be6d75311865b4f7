import { gunzipSync } from "node:zlib";
import type { Limits } from "../../core/limits.js";
import { damagedGzip, ratioFloorBytes, tooLarge, tooLargeByRatio, trailingBytes } from "./decompress.js";

/** More than deflate can make of what is unpacked at once; larger limits Node may not take. */
const mostBytes = 2 ** 31;

/** As `decompress` of a whole gzip stream, with what it unpacks to in one piece. Throws INVALID_IMAGE. */
export function gunzipAtOnce(packed: Uint8Array, limits: Limits): Uint8Array {
  const maxByRatio = Math.max(ratioFloorBytes, limits.inflationRatio * packed.byteLength);
  const maxBytes = Math.min(limits.inflatedBytes, maxByRatio);
  const { buffer, engine } = gunzip(packed, maxBytes, () =>
    maxByRatio < limits.inflatedBytes
      ? tooLargeByRatio(limits.inflationRatio)
      : tooLarge(limits.inflatedBytes),
  );
  if (engine.bytesWritten !== packed.byteLength) throw trailingBytes();
  return buffer;
}

/** With `info` it tells what it has read too, which Node's types do not say. */
interface Gunzipped {
  readonly buffer: Buffer;
  readonly engine: { readonly bytesWritten: number };
}

function gunzip(packed: Uint8Array, maxBytes: number, refuse: () => Error): Gunzipped {
  const options = { maxOutputLength: Math.min(maxBytes, mostBytes), info: true };
  try {
    return gunzipSync(packed, options) as unknown as Gunzipped;
  } catch (cause) {
    throw cause instanceof Error && "code" in cause && cause.code === "ERR_BUFFER_TOO_LARGE"
      ? refuse()
      : damagedGzip(cause);
  }
}
