/** A whole number below the limit. */
export type Random = (below: number) => number;

/** Larger than any limit that a mutant could reach by growing, and small enough to be quick. */
const maxBytes = 256 * 1024;

/** What sits at the edge of a field of 8, 16, 32 or 64 bits, or of a file. */
const edges = [
  0n,
  1n,
  2n,
  0x7fn,
  0x80n,
  0xffn,
  0x7fffn,
  0xffffn,
  0x7fff_ffffn,
  0x8000_0000n,
  0xffff_fff0n,
  0xffff_ffffn,
  2n ** 53n,
  2n ** 63n,
  2n ** 64n - 1n,
];

type Mutation = (bytes: Buffer, random: Random, others: readonly Buffer[]) => Buffer;

const mutations: readonly Mutation[] = [
  flipBit,
  flipBit,
  setByte,
  setByte,
  setNumber,
  setNumber,
  setNumber,
  nudgeNumber,
  nudgeNumber,
  cutEnd,
  cutSpan,
  doubleSpan,
  repeatSpan,
  fillSpan,
  moveSpan,
  splice,
];

/** A copy with one to eight things done to it. `others` are inputs of the same kind, to take pieces from. */
export function mutate(original: Buffer, random: Random, others: readonly Buffer[]): Buffer {
  let bytes = Buffer.from(original);
  for (let left = 1 + random(1 + random(8)); left > 0 && bytes.length > 0; left--) {
    const mutation = mutations[random(mutations.length)] ?? flipBit;
    bytes = Buffer.from(mutation(bytes, random, others).subarray(0, maxBytes));
  }
  return bytes;
}

/** Half of all places are near an end, where the headers are; tables are aligned. */
function place(bytes: Buffer, random: Random): number {
  const near = Math.min(bytes.length, 64);
  const at = [random(bytes.length), random(bytes.length) & ~3, random(near), bytes.length - 1 - random(near)][
    random(4)
  ];
  return Math.max(at ?? 0, 0);
}

function span(bytes: Buffer, random: Random): readonly [start: number, end: number] {
  const start = place(bytes, random);
  const longest = random(4) === 0 ? bytes.length : 64;
  return [start, Math.min(bytes.length, start + 1 + random(longest))];
}

function flipBit(bytes: Buffer, random: Random): Buffer {
  const at = place(bytes, random);
  bytes[at] = (bytes[at] ?? 0) ^ (1 << random(8));
  return bytes;
}

function setByte(bytes: Buffer, random: Random): Buffer {
  bytes[place(bytes, random)] = random(256);
  return bytes;
}

function setNumber(bytes: Buffer, random: Random): Buffer {
  const candidates = [...edges, BigInt(bytes.length), BigInt(random(bytes.length)), BigInt(random(64))];
  return writeNumber(bytes, random, () => candidates[random(candidates.length)] ?? 0n);
}

function nudgeNumber(bytes: Buffer, random: Random): Buffer {
  return writeNumber(bytes, random, (number) => number + BigInt(random(33) - 16));
}

function writeNumber(bytes: Buffer, random: Random, change: (number: bigint) => bigint): Buffer {
  const size = [1, 2, 4, 4, 8][random(5)] ?? 4;
  if (bytes.length < size) return bytes;
  const at = Math.min(place(bytes, random), bytes.length - size);
  const field = Buffer.from(bytes.subarray(at, at + size));
  const isBig = random(2) === 0;
  const number = BigInt(`0x${(isBig ? field : field.reverse()).toString("hex")}`);
  const changed = BigInt.asUintN(8 * size, change(number))
    .toString(16)
    .padStart(2 * size, "0");
  const written = Buffer.from(changed, "hex");
  bytes.set(isBig ? written : written.reverse(), at);
  return bytes;
}

function cutEnd(bytes: Buffer, random: Random): Buffer {
  return bytes.subarray(0, place(bytes, random));
}

function cutSpan(bytes: Buffer, random: Random): Buffer {
  const [start, end] = span(bytes, random);
  return Buffer.concat([bytes.subarray(0, start), bytes.subarray(end)]);
}

function doubleSpan(bytes: Buffer, random: Random): Buffer {
  const [start, end] = span(bytes, random);
  return Buffer.concat([bytes.subarray(0, end), bytes.subarray(start)]);
}

function repeatSpan(bytes: Buffer, random: Random): Buffer {
  const [start, end] = span(bytes, random);
  const times = Math.min(1 + random(1 << random(11)), Math.ceil(maxBytes / (end - start)));
  const repeated = Array.from({ length: times }, () => bytes.subarray(start, end));
  return Buffer.concat([bytes.subarray(0, start), ...repeated, bytes.subarray(end)]);
}

function fillSpan(bytes: Buffer, random: Random): Buffer {
  const [start, end] = span(bytes, random);
  return bytes.fill([0, 0xff, 0x20, 0x30][random(4)] ?? 0, start, end);
}

function moveSpan(bytes: Buffer, random: Random): Buffer {
  const [start, end] = span(bytes, random);
  bytes.copyWithin(place(bytes, random), start, end);
  return bytes;
}

function splice(bytes: Buffer, random: Random, others: readonly Buffer[]): Buffer {
  const other = others[random(Math.max(others.length, 1))];
  if (other === undefined || other.length === 0) return bytes;
  const [start, end] = span(other, random);
  const at = place(bytes, random);
  return Buffer.concat([
    bytes.subarray(0, at),
    other.subarray(start, end),
    bytes.subarray(at + random(end - start + 1)),
  ]);
}
