import { cutShort } from "./damaged.js";

/** Takes exact numbers of bytes out of chunks that come in any lengths. */
export class ChunkReader {
  readonly #chunks: AsyncIterator<Uint8Array, void, void>;
  #held: Uint8Array = new Uint8Array();
  #at = 0;

  constructor(chunks: AsyncIterable<Uint8Array>) {
    this.#chunks = chunks[Symbol.asyncIterator]() as AsyncIterator<Uint8Array, void, void>;
  }

  /** Whether so many bytes can be taken without waiting. */
  has(count: number): boolean {
    return this.#held.byteLength - this.#at >= count;
  }

  /** Waits until so many bytes are here; false when the chunks end before. */
  async fill(count: number): Promise<boolean> {
    const parts = [this.#held.subarray(this.#at)];
    let bytes = parts[0]?.byteLength ?? 0;
    while (bytes < count) {
      const next = await this.#chunks.next();
      if (next.done === true) break;
      parts.push(next.value);
      bytes += next.value.byteLength;
    }
    this.#held = Buffer.concat(parts);
    this.#at = 0;
    return bytes >= count;
  }

  /** The next bytes, of which there are enough. Valid until the next `fill`. */
  take(count: number): Uint8Array {
    this.#at += count;
    return this.#held.subarray(this.#at - count, this.#at);
  }

  /** Passes over bytes without holding them. Throws INVALID_IMAGE when there are fewer. */
  async skip(count: number): Promise<void> {
    let left = count;
    while (left > 0) {
      if (!this.has(1) && !(await this.fill(1))) throw cutShort();
      left -= this.take(Math.min(left, this.#held.byteLength - this.#at)).byteLength;
    }
  }

  /** Lets go of the chunks, read to their end or not. */
  async close(): Promise<void> {
    await this.#chunks.return?.();
  }
}
