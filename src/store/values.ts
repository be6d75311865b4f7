import { crc32 } from "node:zlib";
import { BpfcacheError } from "../core/errors.js";

/** The first byte of every value but the blobs, which are kept byte for byte as their digest names them. */
const formatVersion = 1;

/** LMDB has no checksums, so a record brings its own: version, CRC-32 of the rest, JSON. */
export function encodeRecord(record: object): Buffer {
  const json = Buffer.from(JSON.stringify(record));
  const head = Buffer.alloc(5);
  head.writeUInt8(formatVersion, 0);
  head.writeUInt32BE(crc32(json), 1);
  return Buffer.concat([head, json]);
}

/** The record as it was encoded; it was checked before it was written, so its shape is taken on trust. Throws CACHE_CORRUPT. */
export function decodeRecord<T>(value: Buffer): T {
  requireVersion(value);
  if (value.length < 5 || value.readUInt32BE(1) !== crc32(value.subarray(5))) {
    throw new BpfcacheError("CACHE_CORRUPT", "a record of the database is damaged");
  }
  return JSON.parse(value.toString("utf8", 5)) as T;
}

/** The same around bytes that are not ours to understand. */
export function encodeBytes(bytes: Uint8Array): Buffer {
  const head = Buffer.alloc(5);
  head.writeUInt8(formatVersion, 0);
  head.writeUInt32BE(crc32(bytes), 1);
  return Buffer.concat([head, bytes]);
}

/** Throws CACHE_CORRUPT. */
export function decodeBytes(value: Buffer): Buffer {
  if (!areSoundBytes(value)) throw new BpfcacheError("CACHE_CORRUPT", "a value of the database is damaged");
  return value.subarray(5);
}

export function areSoundBytes(value: Buffer): boolean {
  return (
    value.length >= 5 && value[0] === formatVersion && value.readUInt32BE(1) === crc32(value.subarray(5))
  );
}

export interface StoredManifest {
  readonly mediaType: string;
  readonly bytes: Buffer;
}

export function encodeManifest(mediaType: string, bytes: Uint8Array): Buffer {
  const type = Buffer.from(mediaType);
  const head = Buffer.alloc(3);
  head.writeUInt8(formatVersion, 0);
  head.writeUInt16BE(type.length, 1);
  return Buffer.concat([head, type, bytes]);
}

export function decodeManifest(value: Buffer): StoredManifest {
  requireVersion(value);
  const end = 3 + value.readUInt16BE(1);
  return { mediaType: value.toString("utf8", 3, end), bytes: value.subarray(end) };
}

export function encodeTime(milliseconds: number): Buffer {
  const value = Buffer.alloc(9);
  value.writeUInt8(formatVersion, 0);
  value.writeBigUInt64BE(BigInt(milliseconds), 1);
  return value;
}

/** Undefined for what is no time: it has no checksum, and damage must not stand in the way of what is worth more. */
export function decodeTime(value: Buffer): number | undefined {
  if (value.length !== 9 || value[0] !== formatVersion) return undefined;
  // As two numbers, not as a BigInt: what is no time is still far too large after rounding.
  const milliseconds = value.readUInt32BE(1) * 2 ** 32 + value.readUInt32BE(5);
  return milliseconds <= lastMoment ? milliseconds : undefined;
}

/** The last one that a Date can be (ECMA-262, "Time Values"). */
const lastMoment = 8.64e15;

/** A count that fits a JavaScript number. */
export function encodeCount(count: number): Buffer {
  return encodeTime(count);
}

export function decodeCount(value: Buffer): number | undefined {
  return decodeTime(value);
}

function requireVersion(value: Buffer): void {
  if (value.length < 3 || value[0] !== formatVersion) {
    throw new BpfcacheError("CACHE_CORRUPT", "a value of the database has an unknown format");
  }
}
