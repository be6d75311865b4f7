import type { Btf, BtfMember, BtfVariable } from "./btf.js";
import { kind } from "./kinds.js";

/** What the type of a variable in `.maps` says about the map (libbpf.c, `parse_btf_map_def`). */
export interface MapDefinition {
  readonly type: number | undefined;
  readonly keySize: number | undefined;
  readonly valueSize: number | undefined;
  readonly maxEntries: number | undefined;
  readonly flags: number | undefined;
  /** Why libbpf would refuse it, as ends of sentences about the map. */
  readonly problems: readonly string[];
}

/** An inner map's or a program's id: what array_of_maps, hash_of_maps and prog_array hold. */
const referenceBytes = 4;

const fieldsWithoutMeaningHere = new Set(["numa_node", "pinning", "map_extra"]);

/** Reads `struct { __uint(type, …); __type(key, …); … } name SEC(".maps")`. Throws INVALID_IMAGE for malformed BTF only. */
export function readMapDefinition(btf: Btf, variable: BtfVariable): MapDefinition {
  const struct = btf.resolve(variable.typeId);
  const found: { -readonly [Key in Exclude<keyof MapDefinition, "problems">]: MapDefinition[Key] } = {
    type: undefined,
    keySize: undefined,
    valueSize: undefined,
    maxEntries: undefined,
    flags: undefined,
  };
  if (struct.kind !== kind.struct) return { ...found, problems: ["is not defined by a struct"] };
  const problems: string[] = [];
  const known = (value: number | undefined, member: BtfMember): number | undefined => {
    if (value === undefined) problems.push(`has a malformed ${JSON.stringify(member.name)}`);
    return value;
  };
  for (const member of btf.members(struct)) {
    switch (member.name) {
      case "type":
        found.type = known(encodedNumber(btf, member), member);
        break;
      case "max_entries":
        found.maxEntries = known(encodedNumber(btf, member), member);
        break;
      case "map_flags":
        found.flags = known(encodedNumber(btf, member), member);
        break;
      case "key_size":
        found.keySize = known(encodedNumber(btf, member), member);
        break;
      case "value_size":
        found.valueSize = known(encodedNumber(btf, member), member);
        break;
      case "key":
        found.keySize = known(pointedSize(btf, member), member);
        break;
      case "value":
        found.valueSize = known(pointedSize(btf, member), member);
        break;
      case "values":
        found.valueSize = referenceBytes;
        break;
      default:
        if (!fieldsWithoutMeaningHere.has(member.name)) {
          problems.push(`has an unknown field ${JSON.stringify(member.name)}`);
        }
    }
  }
  if (found.type === undefined) problems.push("has no type");
  return { ...found, problems };
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
