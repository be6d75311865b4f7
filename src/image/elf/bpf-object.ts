import { BpfcacheError } from "../../core/errors.js";
import type { ByteOrder } from "../../core/platform.js";
import { Btf } from "../btf/btf.js";
import { countCoreRelocations } from "../btf/btf-ext.js";
import { readGlobals } from "./globals.js";
import { describeElf, elfByteOrder, isBpfElf } from "./identify.js";
import { readMaps } from "./maps.js";
import { sortSymbols } from "./object-symbols.js";
import { readPrograms } from "./programs.js";
import { type ElfSection, readSections } from "./section-table.js";
import { readSymbolTable } from "./symbol-table.js";

export interface BpfProgram {
  /** The function's name, in full: the kernel cuts it to 15 characters, the cache does not. */
  readonly name: string;
  /** xdp, tc, tcx, kprobe, fentry, … or "unspec" when the section name means nothing to libbpf. */
  readonly type: string;
  readonly section: string;
  /** What stands behind the first slash of the section's name: a kernel function, a tracepoint, a direction. */
  readonly attach?: string;
  readonly sleepable: boolean;
  /** False when the section's name begins with "?": loaders leave the program out unless told otherwise. */
  readonly autoload: boolean;
  /** Slots of 8 bytes; a 64-bit constant takes two. */
  readonly instructions: number;
  /** In bytes, inside the section. */
  readonly offset: number;
}

export interface BpfMap {
  readonly name: string;
  /** hash, percpu_array, ringbuf, … as bpftool prints it; "unspec" when the object does not tell. */
  readonly type: string;
  /** In bytes, like `valueSize`. */
  readonly keySize?: number;
  readonly valueSize?: number;
  readonly maxEntries?: number;
  /** BPF_F_* bits. */
  readonly flags?: number;
  /** 1 where libbpf is to pin it by its name. */
  readonly pinning?: number;
}

export interface BpfSection {
  readonly name: string;
  /** PROGBITS, NOBITS, SYMTAB, … or the number in hexadecimal. */
  readonly type: string;
  readonly size: number;
  readonly flags: readonly string[];
}

export interface BpfGlobal {
  readonly name: string;
  readonly section: string;
  readonly size: number;
  /** As C would write it; only when the object has BTF. */
  readonly type?: string;
  readonly offset: number;
}

/** What an eBPF object says about itself. */
export interface BpfObject {
  readonly byteOrder: ByteOrder;
  readonly license?: string;
  readonly sections: readonly BpfSection[];
  readonly programs: readonly BpfProgram[];
  /** The maps its author declared; those that loaders make of global variables are in `globals`. */
  readonly maps: readonly BpfMap[];
  readonly globals: readonly BpfGlobal[];
  readonly hasBtf: boolean;
  /** More than none: loading it needs the kernel's own BTF. */
  readonly coreRelocations: number;
  /** Why libbpf would refuse to open it, as sentences; other loaders may still take it. */
  readonly problems: readonly string[];
}

/**
 * Reads an eBPF ELF object. Throws INVALID_IMAGE when it is something else, is stripped of its symbols, or has
 * malformed tables.
 */
export function readBpfObject(bytes: Uint8Array): BpfObject {
  if (!isBpfElf(bytes)) {
    const what = describeElf(bytes) ?? "not an ELF file";
    throw new BpfcacheError("INVALID_IMAGE", `this is ${what}, not an eBPF object`);
  }
  const problems: string[] = [];
  const sections = readSections(bytes);
  const symbols = sortSymbols(readSymbolTable(sections));
  const programs = readPrograms(symbols.programs, problems);
  const btf = readBtf(sections, problems);
  const maps = readMaps(symbols, btf, problems);
  if (!hasBtf(sections)) {
    for (const name of symbols.externs) problems.push(`the external symbol ${name} needs BTF`);
  }
  return {
    byteOrder: elfByteOrder(bytes) ?? "little",
    ...license(sections),
    sections: sections.map(({ name, typeName, size, flags }) => ({ name, type: typeName, size, flags })),
    programs,
    maps,
    globals: readGlobals(symbols.globals, btf),
    hasBtf: hasBtf(sections),
    coreRelocations: coreRelocations(sections),
    problems,
  };
}

function sectionNamed(sections: readonly ElfSection[], wanted: string): ElfSection | undefined {
  return sections.find(({ name }) => name === wanted);
}

function hasBtf(sections: readonly ElfSection[]): boolean {
  return sectionNamed(sections, ".BTF") !== undefined;
}

/** Undefined when there is none, and when part of it is newer than this reader: another loader may know that kind. */
function readBtf(sections: readonly ElfSection[], problems: string[]): Btf | undefined {
  const section = sectionNamed(sections, ".BTF");
  if (section === undefined) return undefined;
  const btf = new Btf(section.contents);
  if (btf.unknownKind === undefined) return btf;
  problems.push(`its BTF has types of kind ${btf.unknownKind}, which is newer than this reader`);
  return undefined;
}

function coreRelocations(sections: readonly ElfSection[]): number {
  const section = sectionNamed(sections, ".BTF.ext");
  return section === undefined ? 0 : countCoreRelocations(section.contents);
}

/** libbpf keeps the first 63 characters, terminated or not. */
const maxLicenseBytes = 63;

function license(sections: readonly ElfSection[]): { readonly license?: string } {
  const contents = sectionNamed(sections, "license")?.contents;
  if (contents === undefined) return {};
  const text = Buffer.from(contents.bytes(0, Math.min(contents.length, maxLicenseBytes))).toString("utf8");
  const [terminated = ""] = text.split("\0", 1);
  return { license: terminated.replace(/\p{Cc}/gu, " ") };
}
