import { refusal } from "./refusal.js";

export const tarBlockBytes = 512;

/** One header block, as far as it decides where the next one is (POSIX.1-2017 pax, "ustar Interchange Format"). */
export interface TarHeader {
  /** One character: "0" file, "5" directory, "x" and "g" pax records, "L" GNU long name, … */
  readonly type: string;
  readonly size: number;
  /** For messages only: long names come in other blocks. */
  readonly shortName: string;
  /** The name with what POSIX puts in front of it; other blocks may replace it. */
  readonly name: string;
  readonly linkName: string;
}

/**
 * Stricter than tar-stream wherever the two could find different sizes in the same block: two readers that see
 * different archives in the same bytes are how content is smuggled past a check. Throws INVALID_IMAGE.
 */
export function parseTarHeader(block: Uint8Array): TarHeader {
  const sum = checksum(block);
  // tar-stream takes a block that is zero but for its checksum for padding.
  if (sum === emptyChecksum || sum !== numberField(block, 148, 8)) {
    throw refusal("a tar header has the wrong checksum");
  }
  // Of no use here, but Go and Python end an archive where one of them is malformed.
  for (const [start, length] of otherNumbers) checkNumberField(block, start, length);
  const flag = block[156] ?? 0;
  return {
    type: flag === 0 ? "0" : String.fromCharCode(flag),
    size: numberField(block, 124, 12),
    shortName: text(block, 0, 100),
    name: nameIn(block),
    linkName: utf8(block, 157, 100),
  };
}

/** GNU's format has times where POSIX has the prefix, and is told by what follows the magic. */
function nameIn(block: Uint8Array): string {
  const name = utf8(block, 0, 100);
  const isPosix = text(block, 257, 8).startsWith("ustar") && block[262] === 0;
  const prefix = isPosix ? utf8(block, 345, 155) : "";
  return prefix === "" ? name : `${prefix}/${name}`;
}

/** Mode, owner, group, time of change, and a device's two numbers. */
const otherNumbers: readonly (readonly [start: number, length: number])[] = [
  [100, 8],
  [108, 8],
  [116, 8],
  [136, 12],
  [329, 8],
  [337, 8],
];

const emptyChecksum = 8 * 0x20;

/** The checksum field itself counts as eight spaces. */
function checksum(block: Uint8Array): number {
  let sum = emptyChecksum;
  for (const byte of block) sum += byte;
  for (const byte of block.subarray(148, 156)) sum -= byte;
  return sum;
}

/** Octal digits padded with spaces or NULs, or GNU's base 256 with the highest bit set. */
function numberField(block: Uint8Array, start: number, length: number): number {
  const field = block.subarray(start, start + length);
  if (field[0] === 0x80) return base256(field.subarray(1));
  const match = /^ *([0-7]*)[ \0]*$/.exec(latin1(field));
  if (match === null) throw refusal("a tar header has a malformed number");
  const [, digits = ""] = match;
  return digits === "" ? 0 : Number.parseInt(digits, 8);
}

/** Unlike sizes these may be negative in base 256, and larger than numbers go. */
function checkNumberField(block: Uint8Array, start: number, length: number): void {
  const first = block[start];
  if (first !== 0x80 && first !== 0xff) numberField(block, start, length);
}

function base256(bytes: Uint8Array): number {
  let value = 0;
  for (const byte of bytes) value = value * 256 + byte;
  if (!Number.isSafeInteger(value)) throw refusal("a tar header has an absurd size");
  return value;
}

function text(block: Uint8Array, start: number, length: number): string {
  return latin1(textField(block, start, length));
}

function utf8(block: Uint8Array, start: number, length: number): string {
  return Buffer.from(textField(block, start, length)).toString("utf8");
}

/** Up to the first NUL. */
function textField(block: Uint8Array, start: number, length: number): Uint8Array {
  const field = block.subarray(start, start + length);
  const end = field.indexOf(0);
  return end < 0 ? field : field.subarray(0, end);
}

function latin1(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString("latin1");
}
