import { type ByteReader, malformedObject } from "./byte-reader.js";
import { type ElfSection, sectionType } from "./section-table.js";

export type SymbolType = "none" | "object" | "function" | "other";
export type SymbolBinding = "local" | "global" | "weak" | "other";

export interface ElfSymbol {
  /** Where the name is in the string table: most symbols are labels whose names nobody needs. */
  readonly nameOffset: number;
  readonly type: SymbolType;
  readonly binding: SymbolBinding;
  /** Undefined for symbols that belong to no section of this file: externs, absolute values. */
  readonly section: ElfSection | undefined;
  readonly isExtern: boolean;
  /** In a relocatable file: the offset inside the section. */
  readonly offset: number;
  readonly size: number;
}

export interface SymbolTable {
  readonly symbols: readonly ElfSymbol[];
  nameOf(symbol: ElfSymbol): string;
}

const entryBytes = 24;
const undefinedSection = 0;
const firstReservedSection = 0xff00;

const types: readonly SymbolType[] = ["none", "object", "function"];
const bindings: readonly SymbolBinding[] = ["local", "global", "weak"];

/** The symbol table of an ELF64 object. Throws INVALID_IMAGE when it is malformed or, in a stripped object, missing. */
export function readSymbolTable(sections: readonly ElfSection[]): SymbolTable {
  const [table, second] = sections.filter(({ type }) => type === sectionType.symtab);
  if (table === undefined) throw malformedObject("it has no symbol table: was it stripped?");
  if (second !== undefined) throw malformedObject("it has two symbol tables");
  const strings = sections[table.link - 1];
  if (strings?.type !== sectionType.strtab) throw malformedObject("its symbols have no names");
  if (table.entrySize !== entryBytes || table.size % entryBytes !== 0) {
    throw malformedObject("its symbol table has entries of the wrong size");
  }
  const symbols: ElfSymbol[] = [];
  // Entry 0 is the undefined symbol of the ELF specification.
  for (let at = entryBytes; at < table.size; at += entryBytes) {
    symbols.push(readSymbol(table.contents, at, sections));
  }
  return { symbols, nameOf: ({ nameOffset }) => strings.contents.name(nameOffset) };
}

function readSymbol(table: ByteReader, at: number, sections: readonly ElfSection[]): ElfSymbol {
  const information = table.u8(at + 4);
  const sectionIndex = table.u16(at + 6);
  const section = sectionIndex < firstReservedSection ? sections[sectionIndex - 1] : undefined;
  if (section === undefined && sectionIndex !== undefinedSection && sectionIndex < firstReservedSection) {
    throw malformedObject("a symbol lies in a section that does not exist");
  }
  return {
    nameOffset: table.u32(at),
    type: types[information & 0xf] ?? "other",
    binding: bindings[information >> 4] ?? "other",
    section,
    isExtern: sectionIndex === undefinedSection,
    offset: section === undefined ? 0 : table.u64(at + 8),
    size: section === undefined ? 0 : table.u64(at + 16),
  };
}
