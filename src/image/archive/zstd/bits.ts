import { damaged } from "./damaged.js";

/** What must be readable behind the end of what a `BackwardBits` reads. */
export const bitPadding = 8;

/**
 * A bit stream that is read from its end to its beginning (RFC 8878, 4.1). What stands around it in the view is never
 * seen, but there have to be `bitPadding` bytes more: four are fetched at once.
 */
export class BackwardBits {
  readonly #view: DataView;
  /** The stream's first bit, counted from the view's. */
  readonly #origin: number;
  /** How many bits have not been read; below zero when more were taken than there are. */
  left: number;

  /** Throws INVALID_IMAGE when the last byte lacks the bit that ends the stream. */
  constructor(view: DataView, start: number, end: number) {
    const last = end > start ? view.getUint8(end - 1) : 0;
    if (last === 0) throw damaged("a bit stream has no end");
    this.#view = view;
    this.#origin = start * 8;
    this.left = (end - start) * 8 - Math.clz32(last) + 24 - 1;
  }

  /** The next bits, up to 25, without taking them; zeros follow the last one. */
  peek(count: number): number {
    const low = this.left - count;
    if (low < 0) {
      const rest = this.left <= 0 ? 0 : this.#view.getUint32(this.#origin >> 3, true) << -low;
      return rest & ((1 << count) - 1);
    }
    const at = this.#origin + low;
    return (this.#view.getUint32(at >> 3, true) >>> (at & 7)) & ((1 << count) - 1);
  }

  /** Takes up to 25 bits, zeros when there are none left. */
  takePadded(count: number): number {
    const bits = this.peek(count);
    this.left -= count;
    return bits;
  }

  /** Takes up to 32 bits. Throws INVALID_IMAGE when there are fewer. */
  take(count: number): number {
    if (this.left < count) throw damaged("a bit stream ends early");
    if (count <= 25) return this.takePadded(count);
    const high = this.takePadded(count - 16);
    return high * 0x1_0000 + this.takePadded(16);
  }

  /** Throws INVALID_IMAGE unless exactly all was taken. */
  finish(): void {
    if (this.left !== 0) throw damaged("a bit stream is longer or shorter than what it holds");
  }
}
