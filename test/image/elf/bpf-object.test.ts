import { describe, expect, test } from "vitest";
import { BpfcacheError } from "../../../src/core/errors.js";
import { readBpfObject } from "../../../src/image/elf/bpf-object.js";
import { BtfBuilder } from "../btf/btf-builder.js";
import { buildElf, code, type ElfPlan, number, programSymbol } from "./elf-builder.js";

describe.each(["little", "big"] as const)("a %s-endian object", (byteOrder) => {
  function read(plan: ElfPlan): ReturnType<typeof readBpfObject> {
    return readBpfObject(buildElf({ byteOrder, ...plan }));
  }

  test("tells its byte order, license and sections", () => {
    const object = read({
      sections: [
        code("xdp"),
        { name: "license", flags: 3, bytes: Buffer.from("GPL\0rest") },
        { name: ".bss", type: 8, flags: 3, size: 4_096 },
        { name: "strange", type: 0x70000001 },
      ],
    });
    expect(object).toMatchObject({
      byteOrder,
      license: "GPL",
      hasBtf: false,
      coreRelocations: 0,
      problems: [],
    });
    expect(object.sections).toMatchObject([
      { name: "xdp", type: "PROGBITS", size: 16, flags: ["ALLOC", "EXEC"] },
      { name: "license", type: "PROGBITS", size: 8, flags: ["WRITE", "ALLOC"] },
      { name: ".bss", type: "NOBITS", size: 4_096, flags: ["WRITE", "ALLOC"] },
      { name: "strange", type: "0x70000001", size: 0, flags: [] },
      { name: ".symtab", type: "SYMTAB" },
      { name: ".strtab", type: "STRTAB" },
    ]);
  });

  test("lists its programs in the order they lie in the file", () => {
    const { programs } = read({
      sections: [code("xdp", 32), code("?fentry.s/do_unlinkat", 24), code(".text", 8)],
      symbols: [
        programSymbol("second", "xdp", 16, 16),
        programSymbol("third", "?fentry.s/do_unlinkat", 0, 24),
        programSymbol("first", "xdp", 0, 16),
        programSymbol("subprogram", ".text", 0, 8),
        { name: "LBB0_1", type: 0, binding: 0, section: "xdp", offset: 8 },
      ],
    });
    expect(programs).toEqual([
      {
        name: "first",
        type: "xdp",
        section: "xdp",
        sleepable: false,
        autoload: true,
        instructions: 2,
        offset: 0,
      },
      {
        name: "second",
        type: "xdp",
        section: "xdp",
        sleepable: false,
        autoload: true,
        instructions: 2,
        offset: 16,
      },
      {
        name: "third",
        type: "fentry",
        section: "?fentry.s/do_unlinkat",
        attach: "do_unlinkat",
        sleepable: true,
        autoload: false,
        instructions: 3,
        offset: 0,
      },
    ]);
  });

  test("describes its maps by BTF", () => {
    const btf = new BtfBuilder(byteOrder);
    btf.int("int", 4);
    const struct = btf.struct("", 32, [
      ["type", btf.encoded(6)],
      ["key_size", btf.encoded(4)],
      ["value_size", btf.encoded(16)],
      ["max_entries", btf.encoded(5)],
    ]);
    btf.dataSection(".maps", [btf.variable("stats", struct)]);
    const { maps, hasBtf, problems } = read({
      sections: [
        { name: ".maps", flags: 3, bytes: Buffer.alloc(32) },
        { name: ".BTF", bytes: btf.bytes() },
      ],
      symbols: [{ name: "stats", section: ".maps", size: 32 }],
    });
    expect(maps).toEqual([{ name: "stats", type: "percpu_array", keySize: 4, valueSize: 16, maxEntries: 5 }]);
    expect(hasBtf).toBe(true);
    expect(problems).toEqual([]);
  });

  test("describes legacy maps by their structs, and says that libbpf refuses them", () => {
    const fields = [1, 4, 8, 1_024, 1, 0, 0];
    const definition = Buffer.concat(fields.map((field) => number(byteOrder, 4, field)));
    const { maps, problems } = read({
      sections: [{ name: "maps", flags: 3, bytes: Buffer.concat([definition, definition.subarray(0, 16)]) }],
      symbols: [
        { name: "FLOWS", section: "maps", offset: 0, size: 28 },
        { name: "OLD", section: "maps", offset: 28, size: 16 },
      ],
    });
    expect(maps).toEqual([
      { name: "FLOWS", type: "hash", keySize: 4, valueSize: 8, maxEntries: 1_024, flags: 1 },
      { name: "OLD", type: "hash", keySize: 4, valueSize: 8, maxEntries: 1_024 },
    ]);
    expect(problems).toEqual([expect.stringContaining("legacy")]);
  });

  test("lists its tables of functions for the kernel among the maps they become", () => {
    const { maps } = read({
      sections: [
        { name: ".struct_ops", flags: 3, bytes: Buffer.alloc(16) },
        { name: ".struct_ops.link", flags: 3, bytes: Buffer.alloc(16) },
      ],
      symbols: [
        { name: "congestion", section: ".struct_ops", size: 16 },
        { name: "scheduler", section: ".struct_ops.link", size: 16 },
      ],
    });
    expect(maps).toEqual([
      { name: "congestion", type: "struct_ops", keySize: 4, maxEntries: 1 },
      { name: "scheduler", type: "struct_ops", keySize: 4, maxEntries: 1, flags: 8_192 },
    ]);
  });

  test("lists its global variables, with types where BTF has them, and the configuration it asks for", () => {
    const btf = new BtfBuilder(byteOrder);
    const int = btf.int("int", 4);
    btf.dataSection(".bss", [btf.variable("counter", int)]);
    btf.dataSection(".kconfig", [btf.variable("CONFIG_HZ", int)]);
    const { globals } = read({
      sections: [
        { name: ".rodata.str1.1", flags: 2, bytes: Buffer.alloc(8) },
        { name: ".bss", type: 8, flags: 3, size: 8 },
        { name: ".database", flags: 3, bytes: Buffer.alloc(8) },
        { name: ".BTF", bytes: btf.bytes() },
      ],
      symbols: [
        { name: "counter", section: ".bss", offset: 4, size: 4 },
        { name: "text", section: ".rodata.str1.1", size: 6, binding: 0 },
        { name: "unrelated", section: ".database" },
        { name: "CONFIG_HZ", type: 0 },
      ],
    });
    expect(globals).toEqual([
      { name: "text", section: ".rodata.str1.1", size: 6, offset: 0 },
      { name: "counter", section: ".bss", size: 4, type: "int", offset: 4 },
      { name: "CONFIG_HZ", section: ".kconfig", size: 4, type: "int", offset: 0 },
    ]);
  });
});

describe("what libbpf would refuse is told, and read nevertheless", () => {
  const maps = { name: ".maps", flags: 3, bytes: Buffer.alloc(32) };
  const problemsOf = (plan: ElfPlan): readonly string[] => readBpfObject(buildElf(plan)).problems;

  test("maps without BTF", () => {
    const object = readBpfObject(
      buildElf({ sections: [maps], symbols: [{ name: "stats", section: ".maps" }] }),
    );
    expect(object.maps).toEqual([{ name: "stats", type: "unspec" }]);
    expect(object.problems).toEqual([expect.stringContaining("no readable BTF")]);
  });

  test("a map that BTF does not describe, and one that is static", () => {
    const btf = new BtfBuilder();
    btf.dataSection(".maps", []);
    const problems = problemsOf({
      sections: [maps, { name: ".BTF", bytes: btf.bytes() }],
      symbols: [
        { name: "unknown", section: ".maps" },
        { name: "hidden", section: ".maps", binding: 0, offset: 8 },
      ],
    });
    expect(problems).toEqual([
      "the map unknown is not described by BTF",
      expect.stringContaining("the map hidden is static"),
      "the map hidden is not described by BTF",
    ]);
  });

  test("a static function in a program section", () => {
    const object = readBpfObject(
      buildElf({ sections: [code("xdp")], symbols: [{ ...programSymbol("helper", "xdp"), binding: 0 }] }),
    );
    expect(object.programs).toEqual([]);
    expect(object.problems).toEqual([expect.stringContaining("function helper in section xdp is static")]);
  });

  test("an empty program", () => {
    expect(problemsOf({ sections: [code("xdp")], symbols: [programSymbol("nothing", "xdp", 0, 0)] })).toEqual(
      ["the program nothing is empty"],
    );
  });

  test("an extern without BTF", () => {
    expect(problemsOf({ symbols: [{ name: "bpf_kfunc", type: 0 }] })).toEqual([
      "the external symbol bpf_kfunc needs BTF",
    ]);
  });

  test("BTF of a kind that is newer than the reader", () => {
    const btf = new BtfBuilder();
    btf.add(30, "", 0, 0);
    expect(problemsOf({ sections: [{ name: ".BTF", bytes: btf.bytes() }] })).toEqual([
      expect.stringContaining("types of kind 30"),
    ]);
  });
});

describe("an object that is refused", () => {
  function refusal(bytes: Uint8Array): string {
    try {
      readBpfObject(bytes);
    } catch (error) {
      if (error instanceof BpfcacheError && error.code === "INVALID_IMAGE") return error.message;
      throw error;
    }
    throw new Error("it was accepted");
  }

  const xdp = { sections: [code("xdp")], symbols: [programSymbol("pass", "xdp")] };

  test.each<[behaviour: string, bytes: Uint8Array, message: RegExp]>([
    ["nothing at all", new Uint8Array(), /not an ELF file/],
    ["text", Buffer.from("#!/bin/sh\necho this is no object at all\n"), /not an ELF file/],
    [
      "an object for another machine, by its name",
      buildElf({ machine: 62 }),
      /a 64-bit little-endian x86-64 object/,
    ],
    ["an executable", buildElf({ type: 2 }), /eBPF executable/],
    ["a bare ELF header", buildElf(xdp).subarray(0, 64), /section table is cut short|points outside/],
    ["an ELF header cut short", buildElf(xdp).subarray(0, 40), /cut short/],
    ["a stripped object", buildElf({ ...xdp, stripped: true }), /no symbol table/],
    ["two symbol tables", buildElf({ sections: [{ name: ".symtab", type: 2 }] }), /two symbol tables/],
    ["no section names", patched(buildElf(xdp), (elf) => elf.writeUInt16LE(0, 62)), /no names/],
    ["section names in no section", patched(buildElf(xdp), (elf) => elf.writeUInt16LE(99, 62)), /no names/],
    [
      "section headers of another size",
      patched(buildElf(xdp), (elf) => elf.writeUInt16LE(40, 58)),
      /no section table/,
    ],
    [
      "a section table in the header",
      patched(buildElf(xdp), (elf) => elf.writeBigUInt64LE(8n, 40)),
      /no section table/,
    ],
    [
      "a section table beyond all files",
      patched(buildElf(xdp), (elf) => elf.writeBigUInt64LE(0xffff_ffff_ffff_ff00n, 40)),
      /absurd/,
    ],
    [
      "ten thousand sections",
      patched(buildElf(xdp), (elf) => elf.writeUInt16LE(0xfeff, 60)),
      /more than 10000/,
    ],
    [
      "a section that reaches outside",
      buildElf({ sections: [{ ...code("xdp"), size: 1_000_000 }] }),
      /outside/,
    ],
    [
      "a section that begins outside",
      buildElf({ sections: [{ ...code("xdp"), offset: 1_000_000 }] }),
      /outside/,
    ],
    ["a program that reaches out of its section", withProgram({ offset: 8, size: 16 }), /whole instructions/],
    ["a program of half an instruction", withProgram({ offset: 0, size: 12 }), /whole instructions/],
    [
      "a program that begins inside an instruction",
      withProgram({ offset: 4, size: 8 }),
      /whole instructions/,
    ],
    ["a symbol in no section", buildElf({ symbols: [{ name: "x", section: 77 }] }), /does not exist/],
    [
      "two programs of one name",
      buildElf({
        sections: [code("xdp", 32)],
        symbols: [programSymbol("a", "xdp"), programSymbol("a", "xdp", 16)],
      }),
      /two programs named "a"/,
    ],
    [
      "a name with control characters",
      buildElf({ sections: [code("xdp")], symbols: [programSymbol("\x1b[2J", "xdp")] }),
      /control characters/,
    ],
    ["BTF that is none", buildElf({ sections: [{ name: ".BTF", bytes: Buffer.alloc(64) }] }), /magic/],
    ["BTF without bytes", buildElf({ sections: [{ name: ".BTF", type: 8, size: 64 }] }), /cut short/],
    [
      "BTF.ext that is none",
      buildElf({ sections: [{ name: ".BTF.ext", bytes: Buffer.alloc(64) }] }),
      /magic/,
    ],
    ["a legacy map cut short", withLegacyMap(8), /outside/],
    ["more programs than anyone writes", withPrograms(10_001), /more than 10000/],
  ])("%s", (_, bytes, message) => {
    expect(refusal(bytes)).toMatch(message);
  });

  test("cut short anywhere", () => {
    const whole = buildElf(xdp);
    for (let length = 0; length < whole.length; length++) {
      expect(refusal(whole.subarray(0, length)), `${length} bytes`).toMatch(/malformed|not an eBPF object/);
    }
  });

  function withProgram(at: { offset: number; size: number }): Buffer {
    return buildElf({ sections: [code("xdp")], symbols: [programSymbol("pass", "xdp", at.offset, at.size)] });
  }

  function withLegacyMap(size: number): Buffer {
    const section = { name: "maps", bytes: Buffer.alloc(size) };
    return buildElf({ sections: [section], symbols: [{ name: "m", section: "maps", size: 20 }] });
  }

  function withPrograms(count: number): Buffer {
    const symbols = Array.from({ length: count }, (_, index) => programSymbol(`p${index}`, "xdp", 0, 8));
    return buildElf({ sections: [code("xdp")], symbols });
  }

  function patched(elf: Buffer, change: (elf: Buffer) => void): Buffer {
    change(elf);
    return elf;
  }
});

test("an object in the middle of a larger buffer is read like any other", () => {
  const elf = buildElf({ sections: [code("xdp")], symbols: [programSymbol("pass", "xdp")] });
  const surrounded = Buffer.concat([Buffer.alloc(13, 0xff), elf, Buffer.alloc(13, 0xff)]);
  expect(readBpfObject(surrounded.subarray(13, 13 + elf.length))).toEqual(readBpfObject(elf));
});
