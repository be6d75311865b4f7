import type { Btf, BtfMember, BtfType, BtfVariable } from "./btf.js";
import { kind } from "./kinds.js";

/** What the type of a variable in `.maps` says about the map (libbpf.c, `parse_btf_map_def`). */
export interface MapDefinition {
  readonly type: number | undefined;
  readonly keySize: number | undefined;
  readonly valueSize: number | undefined;
  readonly maxEntries: number | undefined;
  readonly flags: number | undefined;
  /** enum libbpf_pin_type. */
  readonly pinning: number | undefined;
  /** Why libbpf would refuse it, as ends of sentences about the map. */
  readonly problems: readonly string[];
}

/** An inner map's or a program's id: what array_of_maps, hash_of_maps and prog_array hold. */
const referenceBytes = 4;

type Property = Exclude<keyof MapDefinition, "problems">;
type ReadField = (btf: Btf, member: BtfMember) => number | undefined;

const fields = new Map<string, readonly [property: Property, read: ReadField]>([
  ["type", ["type", encodedNumber]],
  ["max_entries", ["maxEntries", encodedNumber]],
  ["map_flags", ["flags", encodedNumber]],
  ["pinning", ["pinning", encodedNumber]],
  ["key_size", ["keySize", encodedNumber]],
  ["value_size", ["valueSize", encodedNumber]],
  ["key", ["keySize", pointedSize]],
  ["value", ["valueSize", pointedSize]],
  ["values", ["valueSize", () => referenceBytes]],
]);

const otherFields = new Set(["numa_node", "map_extra"]);

/** libbpf knows eleven; a struct with more than this is hostile, and could be named by thousands of maps. */
const maxFields = 16;

/**
 * Reads `struct { __uint(type, …); __type(key, …); … } name SEC(".maps")`. As in libbpf the first thing wrong ends the
 * reading, and is told in `problems`. Throws INVALID_IMAGE for malformed BTF only.
 */
export function readMapDefinition(btf: Btf, variable: BtfVariable): MapDefinition {
  const struct = btf.resolve(variable.typeId);
  const found: Record<Property, number | undefined> = {
    type: undefined,
    keySize: undefined,
    valueSize: undefined,
    maxEntries: undefined,
    flags: undefined,
    pinning: undefined,
  };
  const problem = readFields(btf, struct, found) ?? (found.type === undefined ? "has no type" : undefined);
  return { ...found, problems: problem === undefined ? [] : [problem] };
}

function readFields(
  btf: Btf,
  struct: BtfType,
  found: Record<Property, number | undefined>,
): string | undefined {
  if (struct.kind !== kind.struct) return "is not defined by a struct";
  if (struct.memberCount > maxFields) return `has more than ${maxFields} fields`;
  for (const member of btf.members(struct)) {
    const field = fields.get(member.name);
    if (field === undefined) {
      if (otherFields.has(member.name)) continue;
      return `has an unknown field ${JSON.stringify(member.name)}`;
    }
    const [property, read] = field;
    const value = read(btf, member);
    if (value === undefined) return `has a malformed ${JSON.stringify(member.name)}`;
    if (found[property] !== undefined && found[property] !== value) {
      return `says two different things with ${JSON.stringify(member.name)}`;
    }
    found[property] = value;
  }
  return undefined;
}

/** `__uint(name, N)` is written as a pointer to an array of N ints. */
function encodedNumber(btf: Btf, member: BtfMember): number | undefined {
  const pointer = btf.resolve(member.typeId);
  if (pointer.kind !== kind.pointer) return undefined;
  const array = btf.resolve(pointer.sizeOrType);
  return array.kind === kind.array ? btf.elementOf(array).count : undefined;
}

/** `__type(name, T)` is written as a pointer to T. */
function pointedSize(btf: Btf, member: BtfMember): number | undefined {
  const pointer = btf.resolve(member.typeId);
  return pointer.kind === kind.pointer ? btf.sizeOf(pointer.sizeOrType) : undefined;
}
