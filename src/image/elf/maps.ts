import type { Btf, BtfVariable } from "../btf/btf.js";
import { readMapDefinition } from "../btf/map-definition.js";
import { mapTypeName } from "../btf/map-types.js";
import type { BpfMap } from "./bpf-object.js";
import type { NamedSymbol, ObjectSymbols } from "./object-symbols.js";

/** The maps an object declares, as its BTF or the structs of its legacy section describe them. */
export function readMaps(
  { maps, legacyMaps, structOps }: ObjectSymbols,
  btf: Btf | undefined,
  problems: string[],
): readonly BpfMap[] {
  if (maps.length > 0 && btf === undefined) {
    problems.push("its maps are declared in .maps, and there is no readable BTF to say what they are");
  }
  // libbpf 1.0 gave this section up; aya still writes it.
  if (legacyMaps.length > 0) problems.push("its maps are declared in the legacy section maps");
  const described = new Map(btf?.variables(".maps")?.map((variable) => [variable.name, variable]));
  return [
    ...maps.map((map) => readMap(map, btf, described.get(map.name), problems)),
    ...legacyMaps.map(readLegacyMap),
    ...structOps.map(readStructOps),
  ];
}

function readMap(
  { name, symbol }: NamedSymbol,
  btf: Btf | undefined,
  variable: BtfVariable | undefined,
  problems: string[],
): BpfMap {
  if (symbol.binding === "local") problems.push(`the map ${name} is static: maps must be global`);
  if (btf === undefined) return { name, type: "unspec" };
  if (variable === undefined) {
    problems.push(`the map ${name} is not described by BTF`);
    return { name, type: "unspec" };
  }
  const definition = readMapDefinition(btf, variable);
  for (const problem of definition.problems) problems.push(`the map ${name} ${problem}`);
  const { type, keySize, valueSize, maxEntries, flags, pinning } = definition;
  return {
    name,
    type: mapTypeName(type ?? 0),
    ...(keySize === undefined ? {} : { keySize }),
    ...(valueSize === undefined ? {} : { valueSize }),
    ...(maxEntries === undefined ? {} : { maxEntries }),
    ...(flags === undefined ? {} : { flags }),
    ...(pinning === undefined ? {} : { pinning }),
  };
}

/** BPF_F_LINK, which libbpf sets for `.struct_ops.link`. */
const linkFlag = 1 << 13;

/** How large its value is, the running kernel's BTF decides (libbpf.c, `init_struct_ops_maps`). */
function readStructOps({ name, section }: NamedSymbol): BpfMap {
  const map = { name, type: "struct_ops", keySize: 4, maxEntries: 1 };
  return section.name === ".struct_ops.link" ? { ...map, flags: linkFlag } : map;
}

const legacyBytesWithFlags = 20;

/**
 * struct bpf_map_def: type, key size, value size, maximum of entries, flags, each a u32. Loaders have appended fields
 * of their own, and the oldest form had no flags.
 */
function readLegacyMap({ name, symbol: { offset, size }, section: { contents } }: NamedSymbol): BpfMap {
  const map = {
    name,
    type: mapTypeName(contents.u32(offset)),
    keySize: contents.u32(offset + 4),
    valueSize: contents.u32(offset + 8),
    maxEntries: contents.u32(offset + 12),
  };
  return size < legacyBytesWithFlags ? map : { ...map, flags: contents.u32(offset + 16) };
}
