import { BpfcacheError } from "../../core/errors.js";
import type { ByteOrder } from "../../core/platform.js";
import { Btf } from "../btf/btf.js";
import { encodeUntyped, encodeValue, type GlobalValue, listed } from "../btf/encode-value.js";
import { malformedObject } from "./byte-reader.js";
import { elfByteOrder, isBpfElf } from "./identify.js";
import { type NamedSymbol, sortSymbols } from "./object-symbols.js";
import { readSections, sectionType } from "./section-table.js";
import { readSymbolTable } from "./symbol-table.js";

/** Values by the name of the global variable. */
export type GlobalValues = Readonly<Record<string, GlobalValue>>;

/**
 * A copy of an eBPF object in which global variables of `.rodata*` and `.data*` have other values, written in place
 * by their BTF types and in the object's byte order: what libbpf and aya do before a load, done to the file, so that
 * any loader sees them. `bytes` is not touched. A constant that the compiler has folded into the instructions
 * (`const` without `volatile`) has no effect on them, here as there.
 *
 * Throws USAGE for a name that is not there, that lies in `.bss` or `.kconfig` (neither is in the file), or a value that
 * does not fit its type; INVALID_IMAGE for a malformed object.
 */
export function setGlobals(bytes: Uint8Array, values: GlobalValues): Uint8Array {
  if (!isBpfElf(bytes)) throw malformedObject("it is no eBPF object");
  const copy = new Uint8Array(bytes);
  const variables = new Variables(copy);
  for (const [name, value] of Object.entries(values)) variables.set(name, value);
  return copy;
}

/** The bytes that global variables of an object have, by their names. Throws as `setGlobals` does. */
export function readGlobalValues(bytes: Uint8Array, names: readonly string[]): Map<string, Uint8Array> {
  const variables = new Variables(bytes);
  return new Map(names.map((name) => [name, Uint8Array.from(variables.get(name))]));
}

/** The variables of one object. */
class Variables {
  readonly #byteOrder: ByteOrder;
  readonly #symbols: readonly NamedSymbol[];
  readonly #externs: readonly string[];
  readonly #btf: Btf | undefined;

  constructor(bytes: Uint8Array) {
    const sections = readSections(bytes);
    const symbols = sortSymbols(readSymbolTable(sections));
    const section = sections.find(({ name }) => name === ".BTF");
    const btf = section && new Btf(section.contents);
    this.#byteOrder = elfByteOrder(bytes) ?? "little";
    this.#symbols = symbols.globals;
    this.#externs = symbols.externs;
    this.#btf = btf?.unknownKind === undefined ? btf : undefined;
  }

  /** The contents of a section are a view of the bytes, so this is where they change. */
  set(name: string, value: GlobalValue): void {
    this.get(name).set(this.#encode(this.#find(name), value));
  }

  get(name: string): Uint8Array {
    const { section, symbol } = this.#find(name);
    return section.contents.bytes(symbol.offset, symbol.size);
  }

  #encode({ name, section, symbol: { size } }: NamedSymbol, value: GlobalValue): Uint8Array {
    const target = { name, size, byteOrder: this.#byteOrder };
    const variable = this.#btf?.variables(section.name)?.find((candidate) => candidate.name === name);
    // A struct that ends in a flexible array is larger than its type: only its bytes are known then.
    if (this.#btf === undefined || variable === undefined || this.#btf.sizeOf(variable.typeId) !== size) {
      return encodeUntyped(value, target);
    }
    return encodeValue(this.#btf, variable.typeId, value, target);
  }

  #find(name: string): NamedSymbol {
    const [variable, second] = this.#symbols.filter((candidate) => candidate.name === name);
    if (variable === undefined) throw this.#unknown(name);
    if (second !== undefined) {
      const places = `${variable.section.name} and ${second.section.name}`;
      throw new BpfcacheError("USAGE", `the object has several globals named ${name}, in ${places}`);
    }
    if (!isInFile(variable)) {
      throw new BpfcacheError(
        "USAGE",
        `the global ${name} lies in ${variable.section.name}, which is not in the file: it begins as zero`,
        { hint: `Declare it const volatile, or give it a value other than 0, and it can be set.` },
      );
    }
    return variable;
  }

  #unknown(name: string): BpfcacheError {
    const isConfiguration = this.#btf?.variables(".kconfig")?.some((variable) => variable.name === name);
    if (isConfiguration || this.#externs.includes(name)) {
      return new BpfcacheError(
        "USAGE",
        `${name} is external (.kconfig, .ksyms): the loader finds its value in the running kernel`,
      );
    }
    const there = this.#symbols.filter(isInFile).map((variable) => variable.name);
    return new BpfcacheError("USAGE", `the object has no global ${name}`, {
      found: listed(there),
      hint: there.length === 0 ? "It has none that can be set." : `It has: ${listed(there)}.`,
    });
  }
}

function isInFile({ section: { type } }: NamedSymbol): boolean {
  return type !== sectionType.nobits;
}
