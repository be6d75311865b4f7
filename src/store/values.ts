import { BpfcacheError } from "../core/errors.js";

/** The first byte of every value but the blobs, which are kept byte for byte as their digest names them. */
const formatVersion = 1;

export function encodeRecord(record: object): Buffer {
  return Buffer.concat([Buffer.of(formatVersion), Buffer.from(JSON.stringify(record))]);
}

/** The record as it was encoded; it was checked before it was written, so its shape is taken on trust. Throws CACHE_CORRUPT. */
export function decodeRecord<T>(value: Buffer): T {
  requireVersion(value);
  try {
    return JSON.parse(value.toString("utf8", 1)) as T;
  } catch (cause) {
    throw new BpfcacheError("CACHE_CORRUPT", "a record of the database is not readable", { cause });
  }
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

export function decodeTime(value: Buffer): number {
  requireVersion(value);
  return Number(value.readBigUInt64BE(1));
}

function requireVersion(value: Buffer): void {
  if (value.length < 3 || value[0] !== formatVersion) {
    throw new BpfcacheError("CACHE_CORRUPT", "a value of the database has an unknown format");
  }
}
