import { BackwardBits } from "./bits.js";
import { damaged } from "./damaged.js";
import {
  baselineOf,
  bitCountOf,
  buildFse,
  type FseBounds,
  type FseTable,
  fseOfOne,
  readFse,
  symbolOf,
} from "./fse.js";

/** The tables of the three numbers of a sequence; a later block may use them again. */
export interface SequenceTables {
  readonly literalLengths: FseTable;
  readonly offsets: FseTable;
  readonly matchLengths: FseTable;
}

/** Literals to copy, then a match to copy from what is there already. */
export type OnSequence = (literalLength: number, offsetValue: number, matchLength: number) => void;

interface Kind extends FseBounds {
  readonly predefined: FseTable;
}

const ones = (count: number): number[] => new Array<number>(count).fill(1);
const rare = (count: number): number[] => new Array<number>(count).fill(-1);

// The distributions of RFC 8878, 3.1.1.3.2.2.
const literalLengths: Kind = {
  maxAccuracyLog: 9,
  maxSymbol: 35,
  predefined: buildFse(6, [
    ...[4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1, 1, 1, 1, 1],
    ...rare(4),
  ]),
};
const offsets: Kind = {
  maxAccuracyLog: 8,
  maxSymbol: 31,
  predefined: buildFse(5, [...ones(6), 2, 2, 2, ...ones(15), ...rare(5)]),
};
const matchLengths: Kind = {
  maxAccuracyLog: 9,
  maxSymbol: 52,
  predefined: buildFse(6, [1, 4, 3, 2, 2, 2, 2, 2, 2, ...ones(37), ...rare(7)]),
};

/** How many bits follow a length's code; each code begins where the one before ends (RFC 8878, 3.1.1.3.2.1.1). */
const literalLengthBits = Uint8Array.of(
  ...new Array<number>(16).fill(0),
  1,
  1,
  1,
  1,
  2,
  2,
  3,
  3,
  4,
  6,
  ...from(7, 16),
);
const matchLengthBits = Uint8Array.of(
  ...new Array<number>(32).fill(0),
  1,
  1,
  1,
  1,
  2,
  2,
  3,
  3,
  4,
  4,
  5,
  ...from(7, 16),
);
const literalLengthBases = basesOf(literalLengthBits, 0);
const matchLengthBases = basesOf(matchLengthBits, 3);

function from(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

function basesOf(bitCounts: Uint8Array, first: number): Uint32Array {
  let next = first;
  return Uint32Array.from(bitCounts, (count) => {
    const base = next;
    next += 1 << count;
    return base;
  });
}

/**
 * Reads the sequences between two places of a block, and returns the tables that a later block may use again.
 * Throws INVALID_IMAGE, and what `onSequence` throws.
 */
export function readSequences(
  view: DataView,
  start: number,
  end: number,
  previous: SequenceTables | undefined,
  onSequence: OnSequence,
): SequenceTables | undefined {
  const { count, at } = sequenceCount(view, start, end);
  if (count === 0) {
    if (at !== end) throw damaged("something stands behind a block without sequences");
    return previous;
  }
  if (at >= end) throw damaged("a block is cut short");
  const modes = view.getUint8(at);
  if ((modes & 3) !== 0) throw damaged("a reserved bit of a block is set");
  let next = at + 1;
  const table = (mode: number, kind: Kind, earlier: FseTable | undefined): FseTable => {
    const read = readTable(view, next, end, mode & 3, kind, earlier);
    next = read.end;
    return read.table;
  };
  const tables: SequenceTables = {
    literalLengths: table(modes >> 6, literalLengths, previous?.literalLengths),
    offsets: table(modes >> 4, offsets, previous?.offsets),
    matchLengths: table(modes >> 2, matchLengths, previous?.matchLengths),
  };
  decodeSequences(new BackwardBits(view, next, end), count, tables, onSequence);
  return tables;
}

function sequenceCount(
  view: DataView,
  start: number,
  end: number,
): { readonly count: number; readonly at: number } {
  if (start >= end) throw damaged("a block is cut short");
  const first = view.getUint8(start);
  if (first < 128) return { count: first, at: start + 1 };
  if (first < 255) return { count: ((first - 128) << 8) + view.getUint8(start + 1), at: start + 2 };
  return { count: view.getUint16(start + 1, true) + 0x7f00, at: start + 3 };
}

function readTable(
  view: DataView,
  start: number,
  end: number,
  mode: number,
  kind: Kind,
  earlier: FseTable | undefined,
): { readonly table: FseTable; readonly end: number } {
  switch (mode) {
    case 0:
      return { table: kind.predefined, end: start };
    case 1: {
      const symbol = view.getUint8(start);
      if (start >= end || symbol > kind.maxSymbol) throw damaged("a table has a symbol that does not exist");
      return { table: fseOfOne(symbol), end: start + 1 };
    }
    case 2:
      return readFse(view, start, end, kind);
    default:
      if (earlier === undefined)
        throw damaged("a block wants the table of an earlier one, and there is none");
      return { table: earlier, end: start };
  }
}

function decodeSequences(
  bits: BackwardBits,
  count: number,
  { literalLengths, offsets, matchLengths }: SequenceTables,
  onSequence: OnSequence,
): void {
  let literalAt = bits.take(literalLengths.accuracyLog);
  let offsetAt = bits.take(offsets.accuracyLog);
  let matchAt = bits.take(matchLengths.accuracyLog);
  for (let left = count; ; left--) {
    const literal = literalLengths.states[literalAt] ?? 0;
    const offset = offsets.states[offsetAt] ?? 0;
    const match = matchLengths.states[matchAt] ?? 0;
    const offsetCode = symbolOf(offset);
    const offsetValue = ((1 << offsetCode) >>> 0) + bits.take(offsetCode);
    const matchLength = takeLength(bits, symbolOf(match), matchLengthBits, matchLengthBases);
    const literalLength = takeLength(bits, symbolOf(literal), literalLengthBits, literalLengthBases);
    onSequence(literalLength, offsetValue, matchLength);
    if (left === 1) break;
    literalAt = baselineOf(literal) + bits.take(bitCountOf(literal));
    matchAt = baselineOf(match) + bits.take(bitCountOf(match));
    offsetAt = baselineOf(offset) + bits.take(bitCountOf(offset));
  }
  bits.finish();
}

function takeLength(bits: BackwardBits, code: number, bitCounts: Uint8Array, bases: Uint32Array): number {
  const count = bitCounts[code] ?? 0;
  const base = bases[code] ?? 0;
  return count === 0 ? base : base + bits.take(count);
}
