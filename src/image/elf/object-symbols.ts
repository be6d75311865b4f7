import { malformedObject } from "./byte-reader.js";
import { type ElfSection, sectionType } from "./section-table.js";
import type { ElfSymbol, SymbolTable } from "./symbol-table.js";

/** Each becomes a value in memory and a row in the cache; the largest objects in the field have a few hundred. */
const maxNamed = 10_000;

export interface NamedSymbol {
  readonly name: string;
  readonly symbol: ElfSymbol;
  readonly section: ElfSection;
}

/** The symbols that mean something to a loader, by what they stand for, in the order they lie in the file. */
export interface ObjectSymbols {
  readonly programs: readonly NamedSymbol[];
  readonly maps: readonly NamedSymbol[];
  readonly legacyMaps: readonly NamedSymbol[];
  /** Tables of functions for the kernel; each becomes a map. */
  readonly structOps: readonly NamedSymbol[];
  readonly globals: readonly NamedSymbol[];
  /** Kernel functions, kernel variables and configuration values. */
  readonly externs: readonly string[];
}

/** Throws INVALID_IMAGE when there are absurdly many, or two programs or maps of one name. */
export function sortSymbols({ symbols, nameOf }: SymbolTable): ObjectSymbols {
  const relevant = symbols.filter((symbol) => roleOf(symbol) !== undefined);
  if (relevant.length > maxNamed) throw malformedObject(`it names more than ${maxNamed} things`);
  const inRole = (role: Role): NamedSymbol[] =>
    relevant.flatMap((symbol) => {
      const { section } = symbol;
      return section === undefined || roleOf(symbol) !== role
        ? []
        : [{ name: nameOf(symbol), symbol, section }];
    });
  const externs = relevant.filter((symbol) => roleOf(symbol) === "extern").map(nameOf);
  return {
    programs: unique(inRole("program").sort(byPlace), "programs"),
    maps: unique(inRole("map").sort(byPlace), "maps"),
    legacyMaps: unique(inRole("legacy map").sort(byPlace), "maps"),
    structOps: unique(inRole("struct_ops").sort(byPlace), "maps"),
    globals: inRole("global").sort(byPlace),
    externs,
  };
}

type Role = "program" | "map" | "legacy map" | "struct_ops" | "global" | "extern";

function roleOf({ type, binding, section, isExtern }: ElfSymbol): Role | undefined {
  if (isExtern) return binding === "global" || binding === "weak" ? "extern" : undefined;
  if (section === undefined) return undefined;
  if (type === "function") return isProgramSection(section) ? "program" : undefined;
  if (type !== "object") return undefined;
  if (section.name === ".maps") return "map";
  if (isLegacyMapSection(section)) return "legacy map";
  if (section.name === ".struct_ops" || section.name === ".struct_ops.link") return "struct_ops";
  return isDataSection(section) ? "global" : undefined;
}

/** Functions of `.text` are called by programs; they are none themselves. */
function isProgramSection({ name, type, isExecutable }: ElfSection): boolean {
  return isExecutable && type === sectionType.progbits && name !== ".text";
}

/** Before BTF, maps were structs of numbers in `maps` or, for old aya, `maps/NAME`. */
function isLegacyMapSection({ name }: ElfSection): boolean {
  return name === "maps" || name.startsWith("maps/");
}

/** Sections that libbpf turns into maps of global variables; `.rodata.str1.1` and the like count. */
function isDataSection({ name }: ElfSection): boolean {
  return /^\.(rodata|data|bss)(\.|$)/.test(name);
}

function byPlace(a: NamedSymbol, b: NamedSymbol): number {
  return a.section.index - b.section.index || a.symbol.offset - b.symbol.offset;
}

function unique(symbols: readonly NamedSymbol[], what: string): readonly NamedSymbol[] {
  const seen = new Set<string>();
  for (const { name } of symbols) {
    if (seen.has(name)) throw malformedObject(`it has two ${what} named ${JSON.stringify(name)}`);
    seen.add(name);
  }
  return symbols;
}
