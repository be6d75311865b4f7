import { damaged } from "./damaged.js";

/**
 * A table of finite state entropy (RFC 8878, 4.1): of each state the symbol, how many bits the next state takes, and what
 * they are added to, in 8, 8 and 16 bits of one number, from the lowest. One look at memory for all three.
 */
export interface FseTable {
  readonly accuracyLog: number;
  readonly states: Uint32Array;
}

export const symbolOf = (state: number): number => state & 0xff;
export const bitCountOf = (state: number): number => (state >> 8) & 0xff;
export const baselineOf = (state: number): number => state >>> 16;

export interface FseBounds {
  readonly maxAccuracyLog: number;
  readonly maxSymbol: number;
}

/** The table of a symbol that stands alone. */
export function fseOfOne(symbol: number): FseTable {
  return { accuracyLog: 0, states: Uint32Array.of(symbol) };
}

/** Reads a table's description, which ends at `end` or before, and says where. Throws INVALID_IMAGE. */
export function readFse(
  view: DataView,
  start: number,
  end: number,
  { maxAccuracyLog, maxSymbol }: FseBounds,
): { readonly table: FseTable; readonly end: number } {
  let bit = start * 8;
  // No number here is longer than ten bits, and there is padding behind the end.
  const take = (count: number): number => {
    if (bit > end * 8) throw damaged("a table is cut short");
    const value = (view.getUint32(bit >> 3, true) >>> (bit & 7)) & ((1 << count) - 1);
    bit += count;
    return value;
  };
  const accuracyLog = take(4) + 5;
  if (accuracyLog > maxAccuracyLog) throw damaged("a table is larger than its kind can be");
  const probabilities: number[] = [];
  for (let left = 1 << accuracyLog; left > 0; ) {
    const bits = 32 - Math.clz32(left + 1);
    const short = (1 << bits) - 2 - left;
    let value = take(bits);
    const low = value & ((1 << (bits - 1)) - 1);
    if (low < short) {
      bit--;
      value = low;
    } else if (value >= 1 << (bits - 1)) value -= short;
    probabilities.push(value - 1);
    left -= Math.abs(value - 1);
    if (value === 1) {
      for (let zeros = 3; zeros === 3; ) {
        zeros = take(2);
        for (let more = zeros; more > 0; more--) probabilities.push(0);
        if (probabilities.length > maxSymbol + 1) break;
      }
    }
    if (probabilities.length > maxSymbol + 1) throw damaged("a table has symbols that do not exist");
  }
  const tableEnd = (bit + 7) >> 3;
  if (tableEnd > end) throw damaged("a table is cut short");
  return { table: buildFse(accuracyLog, probabilities), end: tableEnd };
}

/** The table of probabilities in units of 2^-accuracyLog, which add up to one; -1 is "less than one". */
export function buildFse(accuracyLog: number, probabilities: readonly number[]): FseTable {
  const size = 1 << accuracyLog;
  const symbols = new Uint8Array(size);
  const next = new Uint16Array(probabilities.length);
  let high = size;
  for (const [symbol, probability] of probabilities.entries()) {
    next[symbol] = Math.abs(probability);
    if (probability === -1) symbols[--high] = symbol;
  }
  const step = (size >> 1) + (size >> 3) + 3;
  let at = 0;
  for (const [symbol, probability] of probabilities.entries()) {
    for (let left = probability; left > 0; left--) {
      symbols[at] = symbol;
      do at = (at + step) & (size - 1);
      while (at >= high);
    }
  }
  const states = new Uint32Array(size);
  for (let state = 0; state < size; state++) {
    const symbol = symbols[state] ?? 0;
    const number = next[symbol] ?? 0;
    next[symbol] = number + 1;
    const bits = accuracyLog - (31 - Math.clz32(number));
    states[state] = symbol | (bits << 8) | (((number << bits) - size) << 16);
  }
  return { accuracyLog, states };
}
