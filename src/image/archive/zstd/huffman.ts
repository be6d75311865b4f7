import { BackwardBits } from "./bits.js";
import { damaged } from "./damaged.js";
import { baselineOf, bitCountOf, readFse, symbolOf } from "./fse.js";

const maxBits = 11;

/** What a prefix code's bits stand for: of every `bits` bits the symbol, and above it how many of them it takes. */
export interface HuffmanTable {
  readonly bits: number;
  readonly entries: Uint16Array;
}

/** Reads a tree's description (RFC 8878, 4.2.1), which ends at `end` or before, and says where. Throws INVALID_IMAGE. */
export function readHuffman(
  view: DataView,
  start: number,
  end: number,
): { readonly table: HuffmanTable; readonly end: number } {
  if (start >= end) throw damaged("a Huffman tree is cut short");
  const head = view.getUint8(start);
  const isDirect = head >= 128;
  const treeEnd = start + 1 + (isDirect ? (head - 127 + 1) >> 1 : head);
  if (treeEnd > end) throw damaged("a Huffman tree is cut short");
  const weights = isDirect
    ? directWeights(view, start + 1, head - 127)
    : packedWeights(view, start + 1, treeEnd);
  return { table: buildHuffman(weights), end: treeEnd };
}

function directWeights(view: DataView, start: number, count: number): number[] {
  return Array.from({ length: count }, (_, index) => {
    const pair = view.getUint8(start + (index >> 1));
    return index % 2 === 0 ? pair >> 4 : pair & 15;
  });
}

/** Two states take turns, until one cannot go on; then the other's symbol is the last. */
function packedWeights(view: DataView, start: number, end: number): number[] {
  const { table, end: tableEnd } = readFse(view, start, end, { maxAccuracyLog: 6, maxSymbol: maxBits + 1 });
  const bits = new BackwardBits(view, tableEnd, end);
  let current = bits.takePadded(table.accuracyLog);
  let other = bits.takePadded(table.accuracyLog);
  const weights: number[] = [];
  while (bits.left >= 0) {
    if (weights.length > 253) throw damaged("a Huffman tree has too many symbols");
    const state = table.states[current] ?? 0;
    weights.push(symbolOf(state));
    current = other;
    other = baselineOf(state) + bits.takePadded(bitCountOf(state));
  }
  if (weights.length === 0) throw damaged("a Huffman tree is cut short");
  weights.push(symbolOf(table.states[current] ?? 0));
  return weights;
}

/** The last symbol's weight is not written: it makes the code complete. */
function buildHuffman(weights: readonly number[]): HuffmanTable {
  let sum = 0;
  for (const weight of weights) {
    if (weight > maxBits) throw damaged("a Huffman code is too long");
    if (weight > 0) sum += 1 << (weight - 1);
  }
  if (sum === 0) throw damaged("a Huffman tree has no symbols");
  const bits = 32 - Math.clz32(sum);
  const rest = (1 << bits) - sum;
  if (bits > maxBits || (rest & (rest - 1)) !== 0) throw damaged("a Huffman code is not complete");
  const all = [...weights, 32 - Math.clz32(rest)];
  const entries = new Uint16Array(1 << bits);
  let at = 0;
  for (let weight = 1; weight <= bits; weight++) {
    for (const [symbol, own] of all.entries()) {
      if (own !== weight) continue;
      entries.fill(((bits + 1 - weight) << 8) | symbol, at, at + (1 << (weight - 1)));
      at += 1 << (weight - 1);
    }
  }
  return { bits, entries };
}

/** Fills `out` with the symbols of a stream that holds exactly so many. Throws INVALID_IMAGE. */
export function decodeHuffman(
  { bits: tableBits, entries }: HuffmanTable,
  view: DataView,
  start: number,
  end: number,
  out: Uint8Array,
): void {
  const bits = new BackwardBits(view, start, end);
  for (let at = 0; at < out.byteLength; at++) {
    const entry = entries[bits.peek(tableBits)] ?? 0;
    bits.left -= entry >> 8;
    if (bits.left < 0) throw damaged("a bit stream ends early");
    out[at] = entry;
  }
  bits.finish();
}
