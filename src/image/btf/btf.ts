import { type ByteReader, malformedObject } from "../elf/byte-reader.js";
import { kind, typeBytes } from "./kinds.js";

const magic = 0xeb9f;
const headerBytes = 24;

/** BTF_MAX_TYPE of linux/btf.h: the kernel takes no more. */
const maxTypes = 0xfffff;

/** As deep as libbpf follows a chain of modifiers (MAX_RESOLVE_DEPTH); a longer one is a loop. */
export const maxTypeDepth = 32;

const pointerBytes = 8;
const sized = new Set<number>([kind.int, kind.struct, kind.union, kind.enum, kind.enum64, kind.float]);
const modifiers = new Set<number>([kind.typedef, kind.volatile, kind.const, kind.restrict, kind.typeTag]);

/** Variables in all data sections together. The largest objects in the field have a few hundred. */
const maxVariables = 65_535;

export interface BtfType {
  readonly kind: number;
  /** Of its name, for `nameOf`: most types are passed through and never named. */
  readonly nameOffset: number;
  readonly memberCount: number;
  /** A size or another type's id, as the kind has it. */
  readonly sizeOrType: number;
  /** Where what follows the common 12 bytes begins. */
  readonly detailsOffset: number;
}

export interface BtfMember {
  readonly name: string;
  readonly typeId: number;
}

export interface BtfEnumerator {
  readonly name: string;
  /** Its bits, as a number of 64: whether they mean a negative one, clang before 15 does not tell. */
  readonly bits: bigint;
}

export interface BtfVariable {
  readonly name: string;
  readonly typeId: number;
}

/** The type information of an object (Documentation/bpf/btf.rst). Types are decoded when they are asked for. */
export class Btf {
  readonly #types: ByteReader;
  readonly #strings: ByteReader;
  readonly #offsets: Uint32Array;
  readonly #sizes = new Map<number, number | undefined>();
  readonly #dataSections = new Map<string, BtfType>();
  /** The first kind that is newer than this reader. The types from there on cannot be found. */
  readonly unknownKind: number | undefined;

  /** Reads the contents of a `.BTF` section. Throws INVALID_IMAGE when it is malformed. */
  constructor(section: ByteReader) {
    if (section.u16(0) !== magic) throw malformedObject(".BTF does not begin with BTF's magic number");
    if (section.u8(2) !== 1) throw malformedObject(`.BTF has version ${section.u8(2)}, not 1`);
    const start = section.u32(4);
    if (start < headerBytes) throw malformedObject(".BTF has too short a header");
    this.#types = section.window(start + section.u32(8), section.u32(12), "the types of .BTF");
    this.#strings = section.window(start + section.u32(16), section.u32(20), "the strings of .BTF");
    const index = indexTypes(this.#types);
    this.#offsets = index.offsets;
    this.unknownKind = index.unknownKind;
    // libbpf takes the first of two sections with one name.
    for (const section of index.dataSections.map((id) => this.type(id))) {
      const name = this.nameOf(section);
      if (!this.#dataSections.has(name)) this.#dataSections.set(name, section);
    }
  }

  /** Type 0 is void. */
  type(id: number): BtfType {
    if (id === 0) return { kind: kind.void, nameOffset: 0, memberCount: 0, sizeOrType: 0, detailsOffset: 0 };
    const offset = this.#offsets[id - 1];
    if (offset === undefined) throw malformedObject(`.BTF has no type ${id}`);
    const information = this.#types.u32(offset + 4);
    return {
      kind: kindOf(information),
      nameOffset: this.#types.u32(offset),
      memberCount: information & 0xffff,
      sizeOrType: this.#types.u32(offset + 8),
      detailsOffset: offset + 12,
    };
  }

  /** Empty for what is anonymous. */
  nameOf({ nameOffset }: BtfType): string {
    return nameOffset === 0 ? "" : this.#strings.name(nameOffset);
  }

  /** The type behind typedefs, const and the like. */
  resolve(id: number): BtfType {
    let type = this.type(id);
    for (let depth = 0; modifiers.has(type.kind); depth++) {
      if (depth === maxTypeDepth) throw malformedObject(".BTF has a type that leads back to itself");
      type = this.type(type.sizeOrType);
    }
    return type;
  }

  members(type: BtfType): readonly BtfMember[] {
    return this.#entries(type).map((at) => ({
      name: this.#strings.name(this.#types.u32(at)),
      typeId: this.#types.u32(at + 4),
    }));
  }

  /** What the bits of an integer mean (BTF_INT_SIGNED and BTF_INT_BOOL of linux/btf.h). */
  encodingOf(integer: BtfType): { readonly isSigned: boolean; readonly isBoolean: boolean } {
    const encoding = (this.#types.u32(integer.detailsOffset) >>> 24) & 0xf;
    return { isSigned: (encoding & 1) !== 0, isBoolean: (encoding & 4) !== 0 };
  }

  enumerators({ kind: typeKind, memberCount, detailsOffset }: BtfType): readonly BtfEnumerator[] {
    const entryBytes = typeKind === kind.enum64 ? 12 : 8;
    return Array.from({ length: memberCount }, (_, index) => {
      const at = detailsOffset + entryBytes * index;
      const name = this.#strings.name(this.#types.u32(at));
      const low = this.#types.u32(at + 4);
      if (typeKind !== kind.enum64) return { name, bits: BigInt.asUintN(64, BigInt(low | 0)) };
      return { name, bits: (BigInt(this.#types.u32(at + 8)) << 32n) | BigInt(low) };
    });
  }

  elementOf(array: BtfType): { readonly typeId: number; readonly count: number } {
    return { typeId: this.#types.u32(array.detailsOffset), count: this.#types.u32(array.detailsOffset + 8) };
  }

  /** Undefined for what has no size: void, functions, types only declared. */
  sizeOf(id: number, depth = 0): number | undefined {
    if (depth > maxTypeDepth) throw malformedObject(".BTF has arrays nested too deep");
    // Thousands of maps may share one key of deeply nested arrays: it is measured once.
    if (this.#sizes.has(id)) return this.#sizes.get(id);
    const size = this.#measure(this.resolve(id), depth);
    this.#sizes.set(id, size);
    return size;
  }

  #measure(type: BtfType, depth: number): number | undefined {
    if (sized.has(type.kind)) return type.sizeOrType;
    if (type.kind === kind.pointer) return pointerBytes;
    if (type.kind !== kind.array) return undefined;
    const { typeId, count } = this.elementOf(type);
    const element = this.sizeOf(typeId, depth + 1);
    if (element === undefined) return undefined;
    if (!Number.isSafeInteger(element * count)) throw malformedObject(".BTF has an absurdly large array");
    return element * count;
  }

  /** The variables of the data section `name` (`.maps`, `.rodata`, …), or undefined when there is none of that name. */
  variables(name: string): readonly BtfVariable[] | undefined {
    const section = this.#dataSections.get(name);
    return section && this.#entries(section).map((at) => this.#variable(this.#types.u32(at)));
  }

  #variable(id: number): BtfVariable {
    const type = this.type(id);
    if (type.kind !== kind.variable) {
      throw malformedObject(".BTF has something else than a variable in a data section");
    }
    return { name: this.nameOf(type), typeId: type.sizeOrType };
  }

  /** Structs, unions and data sections all have 12 bytes a member. */
  #entries({ memberCount, detailsOffset }: BtfType): number[] {
    return Array.from({ length: memberCount }, (_, index) => detailsOffset + 12 * index);
  }
}

function kindOf(information: number): number {
  return (information >>> 24) & 0x1f;
}

interface TypeIndex {
  readonly offsets: Uint32Array;
  readonly dataSections: readonly number[];
  readonly unknownKind: number | undefined;
}

/** Where each type begins; they follow each other without an index of their own. */
function indexTypes(types: ByteReader): TypeIndex {
  const offsets = new Uint32Array(Math.min(maxTypes, Math.floor(types.length / 12)));
  const dataSections: number[] = [];
  let count = 0;
  let variables = 0;
  for (let at = 0; at < types.length; count++) {
    if (count === maxTypes) throw malformedObject(`.BTF has more than ${maxTypes} types`);
    const information = types.u32(at + 4);
    const typeKind = kindOf(information);
    const length = typeBytes(typeKind, information & 0xffff);
    if (length === undefined)
      return { offsets: offsets.subarray(0, count), dataSections, unknownKind: typeKind };
    types.bytes(at, length);
    offsets[count] = at;
    if (typeKind === kind.dataSection) {
      dataSections.push(count + 1);
      // An empty section counts too: each of them is looked at.
      variables += 1 + (information & 0xffff);
      if (variables > maxVariables) throw malformedObject(`.BTF has more than ${maxVariables} variables`);
    }
    at += length;
  }
  return { offsets: offsets.subarray(0, count), dataSections, unknownKind: undefined };
}
