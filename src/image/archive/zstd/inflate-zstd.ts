import { setImmediate } from "node:timers/promises";
import { refusal } from "../refusal.js";
import { BlockDecoder, BlockScratch } from "./block-decoder.js";
import { ChunkReader } from "./chunk-reader.js";
import { cutShort, damaged } from "./damaged.js";
import { frameHeaderBytes, parseFrameHeader } from "./frame-header.js";
import { Xxh64 } from "./xxh64.js";

const magicBytes = 4;
const frameMagic = 0xfd2fb528;

/** So many bytes of work are done between two pauses, in which others may run and a signal may come. */
const pauseBytes = 1024 * 1024;

/** Whether bytes begin as a zstd stream does: with a frame, or one to be skipped, which pzstd puts in front. */
export function isZstd(head: Uint8Array): boolean {
  if (head.byteLength < magicBytes) return false;
  const magic = numberOf(head.subarray(0, magicBytes));
  return magic === frameMagic || isSkippable(magic);
}

function isSkippable(magic: number): boolean {
  return magic >= 0x184d2a50 && magic <= 0x184d2a5f;
}

/**
 * What a zstd stream unpacks to, block by block, as it flows (RFC 8878): one frame or several, and those to be skipped
 * between them. Checksums and content sizes, where frames have them, must be right. The same for every version of Node:
 * older ones have no zstd, and their own would accept what is cut short or refuse what comes in several frames.
 * Throws INVALID_IMAGE for what is damaged, cut short, has something else after its end, wants a window
 * over the limit or a dictionary.
 */
export async function* inflateZstd(
  packed: AsyncIterable<Uint8Array>,
  maxWindowBytes: number,
): AsyncGenerator<Uint8Array, void, void> {
  const inflater = new ZstdInflater(new ChunkReader(packed), maxWindowBytes);
  try {
    yield* inflater.frames();
  } finally {
    await inflater.close();
  }
}

class ZstdInflater {
  readonly #input: ChunkReader;
  readonly #maxWindowBytes: number;
  readonly #scratch = new BlockScratch();
  #sincePause = 0;

  constructor(input: ChunkReader, maxWindowBytes: number) {
    this.#input = input;
    this.#maxWindowBytes = maxWindowBytes;
  }

  async *frames(): AsyncGenerator<Uint8Array, void, void> {
    let isFirst = true;
    while (this.#input.has(1) || (await this.#input.fill(1))) {
      if (!this.#input.has(magicBytes) && !(await this.#input.fill(magicBytes))) {
        throw isFirst ? cutShort() : trailing();
      }
      const magic = numberOf(this.#input.take(magicBytes));
      if (isSkippable(magic)) await this.#input.skip(numberOf(await this.#take(4)));
      else if (magic === frameMagic) yield* this.#frame();
      else throw isFirst ? damaged("it has no frame") : trailing();
      isFirst = false;
    }
  }

  close(): Promise<void> {
    return this.#input.close();
  }

  async *#frame(): AsyncGenerator<Uint8Array, void, void> {
    const [descriptor = 0] = await this.#take(1);
    const rest = frameHeaderBytes(descriptor) - 1;
    const header = Buffer.concat([
      Buffer.from([descriptor]),
      rest > 0 ? await this.#take(rest) : Buffer.alloc(0),
    ]);
    const { windowBytes, contentBytes, hasChecksum } = parseFrameHeader(header, this.#maxWindowBytes);
    const decoder = new BlockDecoder(windowBytes, this.#scratch);
    const checksum = hasChecksum ? new Xxh64() : undefined;
    for (let isLast = false; !isLast; ) {
      const head = numberOf(await this.#take(3));
      isLast = (head & 1) !== 0;
      const block = await this.#block(decoder, (head >> 1) & 3, head >> 3);
      if (decoder.total > (contentBytes ?? Number.POSITIVE_INFINITY))
        throw damaged("a frame is longer than it says");
      checksum?.update(block);
      if (block.byteLength > 0) yield block;
      await this.#pauseNowAndThen(block.byteLength);
    }
    if (contentBytes !== undefined && decoder.total !== contentBytes)
      throw damaged("a frame is shorter than it says");
    if (checksum !== undefined && numberOf(await this.#take(4)) !== checksum.low32()) {
      throw damaged("a checksum is wrong");
    }
  }

  async #block(decoder: BlockDecoder, type: number, size: number): Promise<Uint8Array> {
    if (size > decoder.maxBytes) throw damaged("a block is larger than it may be");
    switch (type) {
      case 0:
        return decoder.raw(await this.#take(size));
      case 1: {
        const [byte = 0] = await this.#take(1);
        return decoder.repeated(byte, size);
      }
      case 2:
        return decoder.compressed(await this.#take(size));
      default:
        throw damaged("a block is of no type");
    }
  }

  async #take(count: number): Promise<Uint8Array> {
    if (!this.#input.has(count) && !(await this.#input.fill(count))) throw cutShort();
    return this.#input.take(count);
  }

  async #pauseNowAndThen(bytes: number): Promise<void> {
    // A block without contents costs about as much as a thousand bytes.
    this.#sincePause += bytes + 1_024;
    if (this.#sincePause < pauseBytes) return;
    this.#sincePause = 0;
    await setImmediate();
  }
}

function trailing(): Error {
  return refusal("there are bytes after the end of the zstd stream");
}

function numberOf(bytes: Uint8Array): number {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).readUIntLE(0, bytes.byteLength);
}
