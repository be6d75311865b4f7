import { BpfcacheError } from "../../core/errors.js";
import type { ByteOrder } from "../../core/platform.js";

/** KSYM_NAME_LEN of Linux: no name the kernel takes is longer, and an unterminated string table costs no more than this. */
const maxNameBytes = 512;

/** INVALID_IMAGE about what an object holds; the caller says which object. */
export function malformedObject(reason: string): BpfcacheError {
  return new BpfcacheError("INVALID_IMAGE", `malformed eBPF object: ${reason}`);
}

/** Integers, names and windows out of hostile bytes. Whatever is out of range throws INVALID_IMAGE, never a RangeError. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #littleEndian: boolean;

  /** `subject` is what the bytes are, for messages: "the section table". */
  constructor(
    bytes: Uint8Array,
    readonly byteOrder: ByteOrder,
    readonly subject: string,
  ) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#littleEndian = byteOrder === "little";
  }

  get length(): number {
    return this.#bytes.byteLength;
  }

  u8(offset: number): number {
    this.#check(offset, 1);
    return this.#view.getUint8(offset);
  }

  u16(offset: number): number {
    this.#check(offset, 2);
    return this.#view.getUint16(offset, this.#littleEndian);
  }

  u32(offset: number): number {
    this.#check(offset, 4);
    return this.#view.getUint32(offset, this.#littleEndian);
  }

  /** A 64-bit size or offset. No file is 2^53 bytes long, so a larger one is refused rather than rounded. */
  u64(offset: number): number {
    this.#check(offset, 8);
    const first = this.#view.getUint32(offset, this.#littleEndian);
    const second = this.#view.getUint32(offset + 4, this.#littleEndian);
    const value = this.#littleEndian ? second * 2 ** 32 + first : first * 2 ** 32 + second;
    if (!Number.isSafeInteger(value)) throw malformedObject(`an absurd number in ${this.subject}`);
    return value;
  }

  /** A view, not a copy. */
  bytes(offset: number, length: number): Uint8Array {
    this.#check(offset, length);
    return this.#bytes.subarray(offset, offset + length);
  }

  window(offset: number, length: number, subject: string): ByteReader {
    return new ByteReader(this.bytes(offset, length), this.byteOrder, subject);
  }

  /** The NUL-terminated name at `offset`. Names are printed, so one with control characters is refused. */
  name(offset: number): string {
    this.#check(offset, 1);
    const field = this.#bytes.subarray(offset, offset + maxNameBytes);
    const end = field.indexOf(0);
    if (end < 0) throw malformedObject(`an unterminated name in ${this.subject}`);
    const name = Buffer.from(field.buffer, field.byteOffset, end).toString("utf8");
    if (/\p{Cc}/u.test(name)) throw malformedObject(`a name with control characters in ${this.subject}`);
    return name;
  }

  #check(offset: number, length: number): void {
    // Asked this way round, NaN is out of range too.
    const inRange = offset >= 0 && length >= 0 && offset + length <= this.#bytes.byteLength;
    if (!inRange) throw malformedObject(`${this.subject} is cut short or points outside itself`);
  }
}
