import { bitPadding } from "./bits.js";
import { damaged } from "./damaged.js";
import { History, maxBlockBytes } from "./history.js";
import type { HuffmanTable } from "./huffman.js";
import { readLiterals } from "./literals.js";
import { readSequences, type SequenceTables } from "./sequences.js";

/** Memory that the frames of a stream use one after another. */
export class BlockScratch {
  readonly history = new History();
  readonly packed = new Uint8Array(maxBlockBytes + bitPadding);
  readonly view = new DataView(this.packed.buffer);
  readonly literals = new Uint8Array(maxBlockBytes);
}

/** Unpacks the blocks of one frame, which build on each other (RFC 8878, 3.1.1.2 and 3.1.1.3). */
export class BlockDecoder {
  readonly #scratch: BlockScratch;
  readonly #history: History;
  /** The most that a block may have in it and unpack to. */
  readonly maxBytes: number;
  #tree: HuffmanTable | undefined;
  #tables: SequenceTables | undefined;
  readonly #recentOffsets = Uint32Array.of(1, 4, 8);

  /** The scratch is this frame's from then on. */
  constructor(windowBytes: number, scratch: BlockScratch) {
    this.maxBytes = Math.min(windowBytes, maxBlockBytes);
    this.#scratch = scratch;
    this.#history = scratch.history;
    this.#history.reset(windowBytes);
  }

  /** What the frame has unpacked to so far. */
  get total(): number {
    return this.#history.total;
  }

  raw(bytes: Uint8Array): Uint8Array {
    return this.#block(bytes.byteLength, () => this.#history.append(bytes));
  }

  repeated(byte: number, count: number): Uint8Array {
    return this.#block(count, () => this.#history.fill(byte, count));
  }

  /** Throws INVALID_IMAGE. */
  compressed(bytes: Uint8Array): Uint8Array {
    const { packed, view } = this.#scratch;
    packed.set(bytes);
    packed.fill(0, bytes.byteLength, bytes.byteLength + bitPadding);
    return this.#block(this.maxBytes, () => this.#decode(view, bytes.byteLength));
  }

  #block(maxBytes: number, write: () => void): Uint8Array {
    const beginning = this.#history.makeRoom(maxBytes);
    write();
    return this.#history.since(beginning);
  }

  #decode(view: DataView, size: number): void {
    const history = this.#history;
    const literals = readLiterals(view, size, this.#tree, this.#scratch.literals.subarray(0, this.maxBytes));
    this.#tree = literals.tree;
    let literalsAt = 0;
    let left = this.maxBytes;
    this.#tables = readSequences(
      view,
      literals.end,
      size,
      this.#tables,
      (literalLength, offsetValue, matchLength) => {
        left -= literalLength + matchLength;
        if (left < 0) throw damaged("a block unpacks to more than it may");
        const literalsEnd = literalsAt + literalLength;
        if (literalsEnd > literals.bytes.byteLength) throw damaged("a block has too few literals");
        history.appendRange(literals.bytes, literalsAt, literalsEnd);
        literalsAt = literalsEnd;
        history.copy(this.#offset(offsetValue, literalLength), matchLength);
      },
    );
    const rest = literals.bytes.subarray(literalsAt);
    if (rest.byteLength > left) throw damaged("a block unpacks to more than it may");
    history.append(rest);
  }

  /** The values up to 3 stand for recent offsets, and move them (RFC 8878, 3.1.1.5). */
  #offset(value: number, literalLength: number): number {
    const recent = this.#recentOffsets;
    const index = literalLength === 0 ? value : value - 1;
    let offset = value - 3;
    if (value <= 3) {
      if (index === 0) return recent[0] ?? 0;
      offset = index === 3 ? (recent[0] ?? 0) - 1 : (recent[index] ?? 0);
      if (offset === 0) throw damaged("a match reaches back by nothing");
    }
    if (value > 3 || index > 1) recent[2] = recent[1] ?? 0;
    recent[1] = recent[0] ?? 0;
    recent[0] = offset;
    return offset;
  }
}
