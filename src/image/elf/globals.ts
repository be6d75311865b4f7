import type { Btf } from "../btf/btf.js";
import { typeName } from "../btf/type-name.js";
import type { BpfGlobal } from "./bpf-object.js";
import type { NamedSymbol } from "./object-symbols.js";

const configurationSection = ".kconfig";

/**
 * Global variables, with their types where there is BTF. Offsets come from the symbols: compilers leave them 0 in BTF
 * for libbpf to fill in.
 */
export function readGlobals(symbols: readonly NamedSymbol[], btf: Btf | undefined): readonly BpfGlobal[] {
  const types = new Map<string, ReadonlyMap<string, number>>();
  const globals = symbols.map(({ name, symbol: { size, offset }, section }): BpfGlobal => {
    const inSection = types.get(section.name) ?? variableTypes(btf, section.name);
    types.set(section.name, inSection);
    const typeId = inSection.get(name);
    const type = btf === undefined || typeId === undefined ? {} : { type: typeName(btf, typeId) };
    return { name, section: section.name, size, ...type, offset };
  });
  return btf === undefined ? globals : [...globals, ...configuration(btf)];
}

function variableTypes(btf: Btf | undefined, section: string): ReadonlyMap<string, number> {
  return new Map(btf?.variables(section)?.map(({ name, typeId }) => [name, typeId]));
}

/**
 * Kernel configuration values that the object asks for. They are externs, so BTF alone knows them, and libbpf decides
 * where they lie: their offset here is 0.
 */
function configuration(btf: Btf): readonly BpfGlobal[] {
  const variables = btf.variables(configurationSection) ?? [];
  return variables.map(({ name, typeId }) => ({
    name,
    section: configurationSection,
    size: btf.sizeOf(typeId) ?? 0,
    type: typeName(btf, typeId),
    offset: 0,
  }));
}
