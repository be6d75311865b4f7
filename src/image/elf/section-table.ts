import { ByteReader, malformedObject } from "./byte-reader.js";
import { elfByteOrder } from "./identify.js";

export const sectionType = { null: 0, progbits: 1, symtab: 2, strtab: 3, nobits: 8 } as const;

const typeNames: Readonly<Record<number, string>> = {
  1: "PROGBITS",
  2: "SYMTAB",
  3: "STRTAB",
  4: "RELA",
  7: "NOTE",
  8: "NOBITS",
  9: "REL",
  17: "GROUP",
  18: "SYMTAB_SHNDX",
  1879002115: "LLVM_ADDRSIG",
};

const flagNames: readonly (readonly [bit: number, name: string])[] = [
  [1, "WRITE"],
  [2, "ALLOC"],
  [4, "EXEC"],
  [0x10, "MERGE"],
  [0x20, "STRINGS"],
];

const headerBytes = 64;
const entryBytes = 64;

/** The kernel's own test objects have a few hundred; from 65,280 on ELF would number them differently. */
const maxSections = 10_000;

export interface ElfSection {
  readonly index: number;
  readonly name: string;
  readonly type: number;
  readonly typeName: string;
  readonly flags: readonly string[];
  readonly isExecutable: boolean;
  readonly size: number;
  readonly link: number;
  readonly entrySize: number;
  /** Empty for a section that has no bytes in the file (NOBITS). */
  readonly contents: ByteReader;
}

/** All sections of an ELF64 file but the null section at index 0. Throws INVALID_IMAGE when the table is malformed. */
export function readSections(bytes: Uint8Array): readonly ElfSection[] {
  const file = new ByteReader(bytes, elfByteOrder(bytes) ?? "little", "the ELF file");
  const tableOffset = file.u64(40);
  const count = file.u16(60);
  const namesIndex = file.u16(62);
  if (file.u16(58) !== entryBytes || tableOffset < headerBytes)
    throw malformedObject("it has no section table");
  if (count > maxSections) throw malformedObject(`it has more than ${maxSections} sections`);
  const table = file.window(tableOffset, count * entryBytes, "the section table");
  if (namesIndex === 0 || namesIndex >= count) throw malformedObject("its sections have no names");
  const names = contentsOf(file, table, namesIndex * entryBytes, "the section names");
  const sections: ElfSection[] = [];
  for (let index = 1; index < count; index++) {
    const name = names.name(table.u32(index * entryBytes));
    sections.push(readSection(file, table, index, name));
  }
  return sections;
}

function readSection(file: ByteReader, table: ByteReader, index: number, name: string): ElfSection {
  const at = index * entryBytes;
  const type = table.u32(at + 4);
  // The high half holds only bits for operating systems and processors (gABI, SHF_MASKOS and SHF_MASKPROC fit in 32).
  const bits = table.u32(at + 8 + (table.byteOrder === "little" ? 0 : 4));
  const flags = flagNames.filter(([bit]) => (bits & bit) !== 0).map(([, flag]) => flag);
  return {
    index,
    name,
    type,
    typeName: typeNames[type] ?? `0x${type.toString(16)}`,
    flags,
    isExecutable: flags.includes("EXEC"),
    size: table.u64(at + 32),
    link: table.u32(at + 40),
    entrySize: table.u64(at + 56),
    contents: contentsOf(file, table, at, `section ${JSON.stringify(name)}`),
  };
}

function contentsOf(file: ByteReader, table: ByteReader, at: number, subject: string): ByteReader {
  const type = table.u32(at + 4);
  if (type === sectionType.nobits || type === sectionType.null) return file.window(0, 0, subject);
  return file.window(table.u64(at + 24), table.u64(at + 32), subject);
}
