/** A BTF-defined map: what clang writes for a struct with `__uint(type, …)` members in SEC(".maps"). */
export interface BtfMap {
  readonly name: string;
  /** BPF_MAP_TYPE_*: 1 is hash, 2 is array (the default), 6 is per-CPU array. */
  readonly type?: number;
  readonly keySize?: number;
  readonly valueSize?: number;
  readonly maxEntries?: number;
}

// Kinds of Documentation/bpf/btf.rst.
const KIND = { int: 1, ptr: 2, array: 3, struct: 4, var: 14, datasec: 15 } as const;

/**
 * The .BTF section of an object with these maps (Documentation/bpf/btf.rst). A number is written as a pointer to an
 * array of that many ints, a map as a variable of the struct of those pointers, and `.maps` lists the variables.
 */
export function btfOfMaps(maps: readonly BtfMap[], order: "little" | "big"): Buffer {
  const types: number[][] = [];
  let strings = "\0";

  const string = (text: string): number => {
    const offset = Buffer.byteLength(strings);
    strings += `${text}\0`;
    return offset;
  };
  const type = (name: number, kind: number, vlen: number, sizeOrType: number, ...rest: number[]): number =>
    types.push([name, (kind << 24) | vlen, sizeOrType, ...rest]);

  const signedInt32 = (1 << 24) | 32;
  const int = type(string("int"), KIND.int, 0, 4, signedInt32);
  const number = (value: number): number => type(0, KIND.ptr, 0, type(0, KIND.array, 0, 0, int, int, value));

  const variables = maps.map(({ name, type: mapType = 2, keySize = 4, valueSize = 8, maxEntries = 1 }) => {
    const members = { type: mapType, key_size: keySize, value_size: valueSize, max_entries: maxEntries };
    const fields = Object.entries(members).flatMap(([member, value], index) => {
      const pointer = number(value);
      return [string(member), pointer, index * 64];
    });
    const struct = type(0, KIND.struct, 4, 32, ...fields);
    const globalLinkage = 1;
    return type(string(name), KIND.var, 0, struct, globalLinkage);
  });
  const listed = variables.flatMap((variable, index) => [variable, index * 32, 32]);
  type(string(".maps"), KIND.datasec, maps.length, maps.length * 32, ...listed);

  return section(order, words(order, types.flat()), Buffer.from(strings));
}

function section(order: "little" | "big", types: Buffer, strings: Buffer): Buffer {
  const magicVersionFlags = order === "little" ? [0x9f, 0xeb, 1, 0] : [0xeb, 0x9f, 1, 0];
  const headerLength = 24;
  const rest = [headerLength, 0, types.byteLength, types.byteLength, strings.byteLength];
  return Buffer.concat([Buffer.from(magicVersionFlags), words(order, rest), types, strings]);
}

function words(order: "little" | "big", values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [index, value] of values.entries()) {
    if (order === "little") bytes.writeUInt32LE(value >>> 0, index * 4);
    else bytes.writeUInt32BE(value >>> 0, index * 4);
  }
  return bytes;
}
