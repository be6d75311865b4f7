import { damaged } from "./damaged.js";

/** A block unpacks to no more (RFC 8878, 3.1.1.2.4). */
export const maxBlockBytes = 128 * 1024;

/** Below this a loop is quicker than a call. */
const shortBytes = 48;

/**
 * What a frame has unpacked to, as far back as a match may reach. It grows with what comes out, so that a frame of a few
 * bytes that asks for a great window costs nothing.
 */
export class History {
  #windowBytes = 0;
  #bytes = new Uint8Array();
  #end = 0;
  /** All that the frame has unpacked to, much of which is gone. */
  total = 0;

  /** Begins another frame, which sees nothing of the one before; its memory is used again. */
  reset(windowBytes: number): void {
    this.#windowBytes = windowBytes;
    this.#end = 0;
    this.total = 0;
  }

  /** Makes room for so many bytes, and returns where they begin: what `since` takes. */
  makeRoom(count: number): number {
    if (this.#end + count <= this.#bytes.byteLength) return this.#end;
    // With room to go on for a while: what is kept is moved to the front when there is no more.
    const maxCapacity = this.#windowBytes + maxBlockBytes + Math.max(maxBlockBytes, this.#windowBytes / 4);
    const kept = Math.min(this.#windowBytes, this.#end);
    const from = this.#end - kept;
    if (from > 0 && this.#bytes.byteLength >= maxCapacity) {
      this.#bytes.copyWithin(0, from, this.#end);
    } else {
      const grown = new Uint8Array(Math.min(maxCapacity, 2 * (this.#end + count)));
      grown.set(this.#bytes.subarray(from, this.#end));
      this.#bytes = grown;
    }
    this.#end = kept;
    return kept;
  }

  append(bytes: Uint8Array): void {
    this.#bytes.set(bytes, this.#end);
    this.#advance(bytes.byteLength);
  }

  /** The bytes of a source between two places: mostly a few of them, for which a view would cost more than the copy. */
  appendRange(source: Uint8Array, start: number, end: number): void {
    if (end - start > shortBytes) {
      this.append(source.subarray(start, end));
      return;
    }
    const bytes = this.#bytes;
    let to = this.#end;
    for (let from = start; from < end; from++) bytes[to++] = source[from] ?? 0;
    this.#advance(end - start);
  }

  fill(byte: number, count: number): void {
    this.#bytes.fill(byte, this.#end, this.#end + count);
    this.#advance(count);
  }

  /** Copies from `offset` bytes ago; what is copied may itself be copied. Throws INVALID_IMAGE when there is nothing so far back. */
  copy(offset: number, count: number): void {
    if (offset > this.total || offset > this.#windowBytes) throw damaged("a match reaches back too far");
    const bytes = this.#bytes;
    const start = this.#end - offset;
    if (offset >= count && count > shortBytes) bytes.copyWithin(this.#end, start, start + count);
    else {
      let to = this.#end;
      for (let from = start; from < start + count; from++) bytes[to++] = bytes[from] ?? 0;
    }
    this.#advance(count);
  }

  /** A copy of what came since a block's beginning. */
  since(beginning: number): Uint8Array {
    return this.#bytes.slice(beginning, this.#end);
  }

  #advance(count: number): void {
    this.#end += count;
    this.total += count;
  }
}
