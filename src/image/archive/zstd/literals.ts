import { damaged } from "./damaged.js";
import { decodeHuffman, type HuffmanTable, readHuffman } from "./huffman.js";

/** The first part of a compressed block: the bytes that are no copies (RFC 8878, 3.1.1.3.1). */
export interface Literals {
  readonly bytes: Uint8Array;
  /** Where the block goes on. */
  readonly end: number;
  /** The tree that a later block may use again. */
  readonly tree: HuffmanTable | undefined;
}

/** How long header and sizes are, by the size format; with one stream or four. */
const packedFormats = [
  { headerBytes: 3, sizeBits: 10, streams: 1 },
  { headerBytes: 3, sizeBits: 10, streams: 4 },
  { headerBytes: 4, sizeBits: 14, streams: 4 },
  { headerBytes: 5, sizeBits: 18, streams: 4 },
] as const;

/** Reads the literals of a block of `size` bytes at the view's start into `scratch`. Throws INVALID_IMAGE. */
export function readLiterals(
  view: DataView,
  size: number,
  previous: HuffmanTable | undefined,
  scratch: Uint8Array,
): Literals {
  if (size === 0) throw damaged("a block is empty");
  const type = view.getUint8(0) & 3;
  return type < 2
    ? plain(view, size, type === 1, previous, scratch)
    : packed(view, size, type === 3, previous, scratch);
}

function plain(
  view: DataView,
  size: number,
  isRepeated: boolean,
  tree: HuffmanTable | undefined,
  scratch: Uint8Array,
): Literals {
  const format = (view.getUint8(0) >> 2) & 3;
  const headerBytes = [1, 2, 1, 3][format] ?? 1;
  const head = view.getUint32(0, true) & (2 ** (8 * headerBytes) - 1);
  const count = head >>> (headerBytes === 1 ? 3 : 4);
  const end = headerBytes + (isRepeated ? 1 : count);
  if (count > scratch.byteLength || end > size) throw damaged("literals are longer than their block");
  const bytes = scratch.subarray(0, count);
  if (isRepeated) bytes.fill(view.getUint8(headerBytes));
  else bytes.set(new Uint8Array(view.buffer, view.byteOffset + headerBytes, count));
  return { bytes, end, tree };
}

function packed(
  view: DataView,
  size: number,
  isTreeless: boolean,
  previous: HuffmanTable | undefined,
  scratch: Uint8Array,
): Literals {
  const { headerBytes, sizeBits, streams } = packedFormats[(view.getUint8(0) >> 2) & 3] ?? packedFormats[0];
  const sizes = (view.getUint32(0, true) + view.getUint8(4) * 2 ** 32) / 16;
  const count = Math.floor(sizes) % 2 ** sizeBits;
  const packedBytes = Math.floor(sizes / 2 ** sizeBits) % 2 ** sizeBits;
  const end = headerBytes + packedBytes;
  if (count > scratch.byteLength || end > size) throw damaged("literals are longer than their block");
  let start: number = headerBytes;
  let tree = previous;
  if (!isTreeless) ({ table: tree, end: start } = readHuffman(view, start, end));
  if (tree === undefined) throw damaged("a block wants the tree of an earlier one, and there is none");
  const bytes = scratch.subarray(0, count);
  if (streams === 1) decodeHuffman(tree, view, start, end, bytes);
  else decodeFour(tree, view, start, end, bytes);
  return { bytes, end, tree };
}

/** Four streams behind the lengths of the first three, each a quarter of the whole. */
function decodeFour(tree: HuffmanTable, view: DataView, start: number, end: number, out: Uint8Array): void {
  const quarter = (out.byteLength + 3) >> 2;
  if (start + 6 > end || 3 * quarter > out.byteLength)
    throw damaged("literals are too short for four streams");
  let at = start + 6;
  for (let stream = 0; stream < 4; stream++) {
    const streamEnd = stream === 3 ? end : at + view.getUint16(start + 2 * stream, true);
    if (streamEnd > end) throw damaged("a stream is longer than its literals");
    const outEnd = stream === 3 ? out.byteLength : quarter * (stream + 1);
    decodeHuffman(tree, view, at, streamEnd, out.subarray(quarter * stream, outEnd));
    at = streamEnd;
  }
}
