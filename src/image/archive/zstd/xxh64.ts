// The primes of XXH64, each in two halves: high, low.
const [p1h, p1l] = [0x9e3779b1, 0x85ebca87];
const [p2h, p2l] = [0xc2b2ae3d, 0x27d4eb4f];
const [p3h, p3l] = [0x165667b1, 0x9e3779f9];
const [p4h, p4l] = [0x85ebca77, 0xc2b2ae63];
const [p5h, p5l] = [0x27d4eb2f, 0x165667c5];

const stripeBytes = 32;

/** A number of 64 bits in two halves: JavaScript's own, BigInt, are twenty times slower. */
class Word {
  high: number;
  low: number;

  constructor(high: number, low: number) {
    this.high = high;
    this.low = low;
  }

  add(high: number, low: number): this {
    const sum = (this.low >>> 0) + (low >>> 0);
    this.high = (this.high + high + (sum > 0xffff_ffff ? 1 : 0)) | 0;
    this.low = sum | 0;
    return this;
  }

  xor(high: number, low: number): this {
    this.high ^= high;
    this.low ^= low;
    return this;
  }

  multiply(high: number, low: number): this {
    const [a0, a1] = [this.low & 0xffff, this.low >>> 16];
    const [b0, b1] = [low & 0xffff, low >>> 16];
    const low0 = Math.imul(a0, b0);
    const cross1 = Math.imul(a0, b1);
    const cross2 = Math.imul(a1, b0);
    const middle = (low0 >>> 16) + (cross1 & 0xffff) + (cross2 & 0xffff);
    const carried = (cross1 >>> 16) + (cross2 >>> 16) + (middle >>> 16);
    this.high = (Math.imul(a1, b1) + carried + Math.imul(this.high, low) + Math.imul(this.low, high)) | 0;
    this.low = (middle << 16) | (low0 & 0xffff);
    return this;
  }

  /** By fewer than 32 bits. */
  rotate(bits: number): this {
    const { high, low } = this;
    this.high = (high << bits) | (low >>> (32 - bits));
    this.low = (low << bits) | (high >>> (32 - bits));
    return this;
  }

  /** The word xor itself shifted right. */
  fold(bits: number): this {
    if (bits >= 32) return this.xor(0, this.high >>> (bits - 32));
    return this.xor(this.high >>> bits, (this.low >>> bits) | (this.high << (32 - bits)));
  }
}

function scrambled(high: number, low: number): Word {
  return new Word(high, low).multiply(p2h, p2l).rotate(31).multiply(p1h, p1l);
}

/** XXH64 with the seed 0 (doc/xxhash_spec.md of xxHash): zstd's checksum is its low half. */
export class Xxh64 {
  readonly #lanes = [new Word(p1h, p1l).add(p2h, p2l), new Word(p2h, p2l), new Word(0, 0), minus(p1h, p1l)];
  readonly #stripe = new Uint8Array(stripeBytes);
  #filled = 0;
  #total = 0;

  update(bytes: Uint8Array): void {
    this.#total += bytes.byteLength;
    let at = 0;
    if (this.#filled > 0) {
      at = Math.min(stripeBytes - this.#filled, bytes.byteLength);
      this.#stripe.set(bytes.subarray(0, at), this.#filled);
      this.#filled += at;
      if (this.#filled < stripeBytes) return;
      this.#mix(viewOf(this.#stripe), 0);
      this.#filled = 0;
    }
    const view = viewOf(bytes);
    for (; at + stripeBytes <= bytes.byteLength; at += stripeBytes) this.#mix(view, at);
    this.#stripe.set(bytes.subarray(at));
    this.#filled = bytes.byteLength - at;
  }

  /** The low half of the sum, as an unsigned number. */
  low32(): number {
    const sum = this.#total < stripeBytes ? new Word(p5h, p5l) : this.#merged();
    sum.add(Math.floor(this.#total / 2 ** 32), this.#total | 0);
    const view = viewOf(this.#stripe);
    let at = 0;
    for (; at + 8 <= this.#filled; at += 8) {
      const { high, low } = scrambled(view.getInt32(at + 4, true), view.getInt32(at, true));
      sum.xor(high, low).rotate(27).multiply(p1h, p1l).add(p4h, p4l);
    }
    if (at + 4 <= this.#filled) {
      const { high, low } = new Word(0, view.getInt32(at, true)).multiply(p1h, p1l);
      sum.xor(high, low).rotate(23).multiply(p2h, p2l).add(p3h, p3l);
      at += 4;
    }
    for (; at < this.#filled; at++) {
      const { high, low } = new Word(0, view.getUint8(at)).multiply(p5h, p5l);
      sum.xor(high, low).rotate(11).multiply(p1h, p1l);
    }
    sum.fold(33).multiply(p2h, p2l).fold(29).multiply(p3h, p3l).fold(32);
    return sum.low >>> 0;
  }

  #mix(view: DataView, start: number): void {
    let at = start;
    for (const lane of this.#lanes) {
      const [high, low] = [view.getInt32(at + 4, true), view.getInt32(at, true)];
      const product = new Word(high, low).multiply(p2h, p2l);
      lane.add(product.high, product.low).rotate(31).multiply(p1h, p1l);
      at += 8;
    }
  }

  #merged(): Word {
    const sum = new Word(0, 0);
    for (const [index, { high, low }] of this.#lanes.entries()) {
      const rotated = new Word(high, low).rotate([1, 7, 12, 18][index] ?? 0);
      sum.add(rotated.high, rotated.low);
    }
    for (const lane of this.#lanes) {
      const { high, low } = scrambled(lane.high, lane.low);
      sum.xor(high, low).multiply(p1h, p1l).add(p4h, p4l);
    }
    return sum;
  }
}

function minus(high: number, low: number): Word {
  return new Word(~high, ~low).add(0, 1);
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
