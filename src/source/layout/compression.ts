import { BpfcacheError } from "../../core/errors.js";
import { compressionOf, type DecompressOptions, decompress } from "../../image/archive/decompress.js";
import { ArchiveRefusal } from "../../image/archive/refusal.js";

export interface DecompressFileOptions extends DecompressOptions {
  /** What it is, for messages. */
  readonly what: string;
}

/**
 * What a file holds, unpacked if it is packed, as it flows. Throws INVALID_IMAGE for what is damaged, cut short or
 * unpacks to too much, INTERRUPTED, and what the chunks throw.
 */
export async function* decompressFile(
  packed: AsyncIterable<Uint8Array>,
  { what, ...options }: DecompressFileOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const { head, all } = await withHead(packed);
  try {
    yield* decompress(all, compressionOf(head), options);
  } catch (error) {
    if (!(error instanceof ArchiveRefusal)) throw error;
    throw new BpfcacheError("INVALID_IMAGE", `${what} is refused: ${error.reason}`, { cause: error });
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
