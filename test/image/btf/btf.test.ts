import { describe, expect, test } from "vitest";
import { Btf } from "../../../src/image/btf/btf.js";
import { countCoreRelocations } from "../../../src/image/btf/btf-ext.js";
import { readMapDefinition } from "../../../src/image/btf/map-definition.js";
import { mapTypeName } from "../../../src/image/btf/map-types.js";
import { typeName } from "../../../src/image/btf/type-name.js";
import { ByteReader } from "../../../src/image/elf/byte-reader.js";
import { number } from "../elf/elf-builder.js";
import { BtfBuilder } from "./btf-builder.js";

const invalid = expect.objectContaining({ code: "INVALID_IMAGE" });

/** A typedef of a const volatile something, as headers like to write it. */
function disguised(btf: BtfBuilder, type: number): number {
  return btf.add(8, "alias", 0, btf.add(10, "", 0, btf.add(9, "", 0, type)));
}

describe.each(["little", "big"] as const)("BTF in %s-endian order", (byteOrder) => {
  test("sizes are those C would compute", () => {
    const btf = new BtfBuilder(byteOrder);
    const int = btf.int("int", 4);
    const pointer = btf.pointer(int);
    const matrix = btf.array(btf.array(disguised(btf, int), 3), 5);
    const event = btf.struct("event", 24);
    const declared = btf.add(7, "elsewhere", 0, 0);
    const long = btf.add(19, "e64", 1, 8, 0, 1, 0);
    const read = new Btf(btf.reader());
    const sizes = [int, pointer, matrix, event, declared, long, 0].map((id) => read.sizeOf(id));
    expect(sizes).toEqual([4, 8, 60, 24, undefined, 8, undefined]);
  });

  test("types are named as C would write them", () => {
    const btf = new BtfBuilder(byteOrder);
    const char = btf.int("char", 1);
    const event = btf.struct("event", 8);
    const names = [
      disguised(btf, char),
      btf.add(10, "", 0, char),
      btf.array(btf.array(char, 16), 4),
      btf.pointer(btf.pointer(event)),
      btf.pointer(0),
      btf.struct("", 8),
      btf.add(5, "choice", 0, 8),
      btf.add(6, "colour", 0, 4),
      btf.pointer(btf.add(13, "", 0, 0)),
    ];
    const read = new Btf(btf.reader());
    expect(names.map((id) => typeName(read, id))).toEqual([
      "alias",
      "char",
      "char[4][16]",
      "struct event **",
      "void *",
      "struct {…}",
      "union choice",
      "enum colour",
      "function *",
    ]);
  });

  test("a map is what the struct in .maps encodes", () => {
    const btf = new BtfBuilder(byteOrder);
    const int = btf.int("int", 4);
    const value = btf.struct("value", 40);
    const struct = btf.struct("", 40, [
      ["type", btf.encoded(9)],
      ["key", btf.pointer(disguised(btf, int))],
      ["value", btf.pointer(value)],
      ["max_entries", btf.encoded(1_024)],
      ["map_flags", btf.encoded(3)],
      ["pinning", btf.encoded(1)],
    ]);
    btf.dataSection(".maps", [btf.variable("flows", disguised(btf, struct))]);
    const read = new Btf(btf.reader());
    const [flows] = read.variables(".maps") ?? [];
    expect(flows?.name).toBe("flows");
    expect(flows && readMapDefinition(read, flows)).toEqual({
      type: 9,
      keySize: 4,
      valueSize: 40,
      maxEntries: 1_024,
      flags: 3,
      pinning: 1,
      problems: [],
    });
  });

  test("relocations are counted over all program sections", () => {
    const words = (...values: number[]): Buffer[] => values.map((value) => number(byteOrder, 4, value));
    const relocations = Buffer.concat([
      ...words(16),
      ...words(1, 2, ...Array(8).fill(0)),
      ...words(7, 1, 0, 0, 0, 0),
    ]);
    const header = [
      number(byteOrder, 2, 0xeb9f),
      Buffer.from([1, 0]),
      ...words(32, 0, 0, 0, 0, 0, relocations.length),
    ];
    const section = new ByteReader(Buffer.concat([...header, relocations]), byteOrder, ".BTF.ext");
    expect(countCoreRelocations(section)).toBe(3);
    const cut = new ByteReader(
      Buffer.concat([...header, relocations]).subarray(0, -1),
      byteOrder,
      ".BTF.ext",
    );
    expect(() => countCoreRelocations(cut)).toThrow(invalid);
  });
});

describe("a map that libbpf would refuse", () => {
  function problemsOf(
    members: (btf: BtfBuilder) => readonly (readonly [string, number])[],
  ): readonly string[] {
    const btf = new BtfBuilder();
    btf.int("int", 4);
    const variable = btf.variable("m", btf.struct("", 8, members(btf)));
    btf.dataSection(".maps", [variable]);
    const read = new Btf(btf.reader());
    return (read.variables(".maps") ?? []).flatMap((map) => readMapDefinition(read, map).problems);
  }

  test("has no type", () => {
    expect(problemsOf((btf) => [["max_entries", btf.encoded(1)]])).toEqual(["has no type"]);
  });

  test("has a field that means nothing", () => {
    const problems = problemsOf((btf) => [
      ["type", btf.encoded(1)],
      ["colour", btf.encoded(2)],
    ]);
    expect(problems).toEqual(['has an unknown field "colour"']);
  });

  test("has a number that is not written as one, or a key without a size", () => {
    const withType = (name: string, type: (btf: BtfBuilder) => number): readonly string[] =>
      problemsOf((btf) => [
        ["type", btf.encoded(1)],
        [name, type(btf)],
      ]);
    expect(withType("max_entries", () => 1)).toEqual(['has a malformed "max_entries"']);
    expect(withType("key", (btf) => btf.pointer(0))).toEqual(['has a malformed "key"']);
  });

  test("says two sizes for its keys", () => {
    const problems = problemsOf((btf) => [
      ["type", btf.encoded(1)],
      ["key_size", btf.encoded(8)],
      ["key", btf.pointer(1)],
    ]);
    expect(problems).toEqual(['says two different things with "key"']);
  });

  test("has more fields than there are", () => {
    const many = problemsOf(() => Array.from({ length: 17 }, (): [string, number] => ["numa_node", 1]));
    expect(many).toEqual(["has more than 16 fields"]);
  });

  test("is no struct", () => {
    const btf = new BtfBuilder();
    btf.dataSection(".maps", [btf.variable("m", btf.int("int", 4))]);
    const read = new Btf(btf.reader());
    const problems = (read.variables(".maps") ?? []).flatMap((map) => readMapDefinition(read, map).problems);
    expect(problems).toEqual(["is not defined by a struct"]);
  });
});

describe("hostile BTF", () => {
  function withByte(offset: number, value: number): ByteReader {
    const btf = new BtfBuilder();
    btf.int("int", 4);
    const bytes = btf.bytes();
    bytes.writeUInt8(value, offset);
    return new ByteReader(bytes, "little", ".BTF");
  }

  test.each([
    ["another magic number", 0, 0],
    ["another version", 2, 9],
    ["a header shorter than its fields", 4, 8],
    ["types that reach outside", 14, 1],
    ["strings that reach outside", 22, 1],
  ])("with %s is refused", (_, offset, value) => {
    expect(() => new Btf(withByte(offset, value))).toThrow(invalid);
  });

  test("cut short anywhere is refused", () => {
    const builder = new BtfBuilder();
    builder.struct("event", 4, [["field", builder.int("int", 4)]]);
    const bytes = builder.bytes();
    for (let length = 0; length < bytes.length; length++) {
      expect(() => new Btf(new ByteReader(bytes.subarray(0, length), "little", ".BTF"))).toThrow(invalid);
    }
  });

  test("a typedef of itself is refused when it is followed, and does not hang its naming", () => {
    const btf = new BtfBuilder();
    const self = btf.add(10, "", 0, 1);
    const read = new Btf(btf.reader());
    expect(() => read.sizeOf(self)).toThrow(invalid);
    expect(typeName(read, self)).toBe("…");
  });

  test("an array of itself is refused when it is measured, and does not hang its naming", () => {
    const btf = new BtfBuilder();
    const self = btf.array(1, 2);
    const read = new Btf(btf.reader());
    expect(() => read.sizeOf(self)).toThrow(invalid);
    expect(typeName(read, self)).toBe("…");
  });

  test("an array larger than numbers go is refused when it is measured", () => {
    const btf = new BtfBuilder();
    const int = btf.int("int", 4);
    const huge = btf.array(btf.array(int, 0xffff_ffff), 0xffff_ffff);
    expect(() => new Btf(btf.reader()).sizeOf(huge)).toThrow(invalid);
  });

  test("a pointer to itself has a name of bounded length", () => {
    const btf = new BtfBuilder();
    btf.pointer(1);
    expect(typeName(new Btf(btf.reader()), 1).length).toBeLessThan(50);
  });

  test("a type that does not exist is refused when it is asked for", () => {
    const btf = new BtfBuilder();
    btf.dataSection(".maps", [99]);
    expect(() => new Btf(btf.reader()).variables(".maps")).toThrow(invalid);
  });

  test("a data section of something else than variables is refused", () => {
    const btf = new BtfBuilder();
    btf.dataSection(".maps", [btf.int("int", 4)]);
    expect(() => new Btf(btf.reader()).variables(".maps")).toThrow(invalid);
  });

  test("more data sections than any object has variables are refused, even when they are empty", () => {
    const btf = new BtfBuilder();
    for (let section = 0; section < 65_536; section++) btf.add(15, "", 0, 0);
    expect(() => new Btf(btf.reader())).toThrow(invalid);
  });

  test("thousands of maps with one deeply nested key are measured without delay", { timeout: 5_000 }, () => {
    const btf = new BtfBuilder();
    let key = btf.int("int", 4);
    for (let level = 0; level < 30; level++) {
      for (let qualifier = 0; qualifier < 30; qualifier++) key = btf.add(10, "", 0, key);
      key = btf.array(key, 1);
    }
    const pointer = btf.pointer(key);
    const fields = Array.from({ length: 15 }, (): [string, number] => ["key", pointer]);
    const struct = btf.struct("", 8, [["type", btf.encoded(1)], ...fields]);
    const variables = Array.from({ length: 10_000 }, (_, index) => btf.variable(`m${index}`, struct));
    btf.dataSection(".maps", variables);
    const read = new Btf(btf.reader());
    const sizes = read.variables(".maps")?.map((map) => readMapDefinition(read, map).keySize);
    expect(new Set(sizes)).toEqual(new Set([4]));
  });

  test("a kind newer than the reader ends the index, and is told", () => {
    const btf = new BtfBuilder();
    btf.int("int", 4);
    btf.add(27, "future", 0, 0);
    const read = new Btf(btf.reader());
    expect(read.unknownKind).toBe(27);
    expect(read.nameOf(read.type(1))).toBe("int");
  });
});

test("map types have the names bpftool prints, and its form for unknown ones", () => {
  expect([1, 2, 3, 5, 6, 27, 31, 33].map(mapTypeName)).toEqual([
    "hash",
    "array",
    "prog_array",
    "percpu_hash",
    "percpu_array",
    "ringbuf",
    "user_ringbuf",
    "arena",
  ]);
  expect(mapTypeName(4_000)).toBe("type 4000");
});
