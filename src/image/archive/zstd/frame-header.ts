import { refusal } from "../refusal.js";
import { damaged } from "./damaged.js";

export interface FrameHeader {
  /** How far back a match may reach. */
  readonly windowBytes: number;
  /** What the frame says it unpacks to. */
  readonly contentBytes: number | undefined;
  readonly hasChecksum: boolean;
}

/** How long the rest of a frame header is, by its first byte, which counts (RFC 8878, 3.1.1.1). */
export function frameHeaderBytes(descriptor: number): number {
  return (
    1 + (isSingleSegment(descriptor) ? 0 : 1) + dictionaryBytes(descriptor) + contentSizeBytes(descriptor)
  );
}

/** Throws INVALID_IMAGE, also for a window over the limit and a dictionary, which nobody could hand us. */
export function parseFrameHeader(header: Uint8Array, maxWindowBytes: number): FrameHeader {
  const bytes = Buffer.from(header.buffer, header.byteOffset, header.byteLength);
  const descriptor = bytes.readUInt8(0);
  if ((descriptor & 0x08) !== 0) throw damaged("a reserved bit of a frame header is set");
  let at = 1;
  let windowBytes = 0;
  if (!isSingleSegment(descriptor)) {
    const window = bytes.readUInt8(at++);
    const base = 2 ** (10 + (window >> 3));
    windowBytes = base + (base / 8) * (window & 7);
  }
  const dictionary = dictionaryBytes(descriptor);
  if (dictionary > 0 && bytes.readUIntLE(at, dictionary) !== 0) {
    throw refusal("its zstd stream needs a dictionary");
  }
  const contentBytes = contentSize(bytes.subarray(at + dictionary));
  if (isSingleSegment(descriptor)) windowBytes = contentBytes ?? 0;
  if (windowBytes > maxWindowBytes) {
    throw refusal(
      `its zstd stream wants a window of ${windowBytes} bytes, and ${maxWindowBytes} is the limit`,
    );
  }
  return { windowBytes, contentBytes, hasChecksum: (descriptor & 0x04) !== 0 };
}

function isSingleSegment(descriptor: number): boolean {
  return (descriptor & 0x20) !== 0;
}

function dictionaryBytes(descriptor: number): number {
  return [0, 1, 2, 4][descriptor & 3] ?? 0;
}

function contentSizeBytes(descriptor: number): number {
  const flag = descriptor >> 6;
  return flag === 0 ? (isSingleSegment(descriptor) ? 1 : 0) : 1 << flag;
}

function contentSize(field: Buffer): number | undefined {
  switch (field.byteLength) {
    case 0:
      return undefined;
    case 2:
      return field.readUInt16LE(0) + 256;
    case 8:
      return Number(field.readBigUInt64LE(0));
    default:
      return field.readUIntLE(0, field.byteLength);
  }
}
