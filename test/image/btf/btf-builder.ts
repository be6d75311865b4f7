import type { ByteOrder } from "../../../src/core/platform.js";
import { ByteReader } from "../../../src/image/elf/byte-reader.js";
import { number } from "../elf/elf-builder.js";

/** Builds `.BTF` type by type (Documentation/bpf/btf.rst). Ids count from 1; nothing is checked. */
export class BtfBuilder {
  readonly #words: Buffer[] = [];
  #strings = "\0";
  #count = 0;

  constructor(readonly byteOrder: ByteOrder = "little") {}

  /** Any kind, with the words that follow the common 12 bytes. Returns its id. */
  add(kind: number, name: string, members: number, sizeOrType: number, ...details: number[]): number {
    const words = [this.#name(name), ((kind << 24) | members) >>> 0, sizeOrType, ...details];
    this.#words.push(...words.map((word) => number(this.byteOrder, 4, word)));
    return ++this.#count;
  }

  /** The offset of a name, for details that hold one. */
  string(name: string): number {
    return this.#name(name);
  }

  int(name: string, size: number): number {
    return this.add(1, name, 0, size, size * 8);
  }

  pointer(to: number): number {
    return this.add(2, "", 0, to);
  }

  array(of: number, count: number): number {
    return this.add(3, "", 0, 0, of, 0, count);
  }

  struct(
    name: string,
    size: number,
    members: readonly (readonly [name: string, type: number])[] = [],
  ): number {
    const details = members.flatMap(([member, type], index) => [this.#name(member), type, index * 64]);
    return this.add(4, name, members.length, size, ...details);
  }

  /** `__uint(…)`: a pointer to an array of so many ints. */
  encoded(value: number, int = 1): number {
    return this.pointer(this.array(int, value));
  }

  variable(name: string, type: number): number {
    return this.add(14, name, 0, type, 1);
  }

  dataSection(name: string, variables: readonly number[]): number {
    return this.add(15, name, variables.length, 0, ...variables.flatMap((variable) => [variable, 0, 0]));
  }

  bytes(): Buffer {
    const types = Buffer.concat(this.#words);
    const strings = Buffer.from(this.#strings);
    const words = [24, 0, types.length, types.length, strings.length];
    const header = words.map((word) => number(this.byteOrder, 4, word));
    return Buffer.concat([number(this.byteOrder, 2, 0xeb9f), Buffer.from([1, 0]), ...header, types, strings]);
  }

  reader(): ByteReader {
    return new ByteReader(this.bytes(), this.byteOrder, "a built .BTF");
  }

  #name(name: string): number {
    if (name === "") return 0;
    const offset = Buffer.byteLength(this.#strings);
    this.#strings += `${name}\0`;
    return offset;
  }
}
