import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type BpfObject, readBpfObject } from "../../../src/image/elf/bpf-object.js";
import { requireTools } from "../../support/tools.js";
import { type CompileOptions, compile, everything } from "./clang.js";

const noClang = requireTools("clang");
const noReadelf = requireTools("clang", "llvm-readelf");
const noBpftool = requireTools("clang", "bpftool");

function read(source: string, options?: CompileOptions): BpfObject {
  return readBpfObject(compile(source, options).bytes);
}

describe.each(["little", "big"] as const)("what clang compiles in %s-endian order", (byteOrder) => {
  test.skipIf(noClang)(`is read whole${noClang ?? ""}`, () => {
    const object = read(everything, { byteOrder });
    expect(object).toMatchObject({
      byteOrder,
      license: "GPL",
      hasBtf: true,
      coreRelocations: 2,
      problems: [],
    });
    expect(object.programs).toMatchObject([
      { name: "pass", type: "xdp", section: "xdp", offset: 0 },
      { name: "drop", type: "xdp", section: "xdp" },
      { name: "unlinked", type: "kprobe", attach: "do_unlinkat", autoload: false },
      { name: "killed", type: "tracepoint", attach: "syscalls/sys_enter_kill", autoload: true },
      { name: "entered", type: "fentry", sleepable: true, instructions: 2 },
    ]);
    expect(object.maps).toEqual([
      { name: "events", type: "hash", keySize: 4, valueSize: 32, maxEntries: 1_024, flags: 1 },
      { name: "stats", type: "percpu_array", keySize: 4, valueSize: 24, maxEntries: 7, pinning: 1 },
      { name: "outer", type: "array_of_maps", keySize: 4, valueSize: 4, maxEntries: 2 },
      { name: "ring", type: "ringbuf", maxEntries: 4_096 },
    ]);
    expect(object.globals).toEqual(
      expect.arrayContaining([
        { name: "limit", section: ".rodata", size: 4, type: "unsigned int", offset: expect.any(Number) },
        { name: "prefix", section: ".rodata", size: 16, type: "char[2][8]", offset: expect.any(Number) },
        { name: "pass.____fmt", section: ".rodata", size: 8, type: "char[8]", offset: expect.any(Number) },
        { name: "counter", section: ".bss", size: 4, type: "int", offset: expect.any(Number) },
        { name: "last", section: ".bss", size: 8, type: "event_t *", offset: expect.any(Number) },
        { name: "start", section: ".data", size: 8, type: "__u64", offset: 0 },
        { name: "hidden", section: ".data.private", size: 4, type: "int", offset: 0 },
        { name: "LINUX_KERNEL_VERSION", section: ".kconfig", size: 4, type: "int", offset: 0 },
        { name: "CONFIG_BPF", section: ".kconfig", size: 1, type: "_Bool", offset: 0 },
      ]),
    );
    expect(object.globals).toHaveLength(9);
  });

  test.skipIf(noReadelf)(`has the sections and functions that llvm-readelf finds${noReadelf ?? ""}`, () => {
    const { path, bytes } = compile(everything, { byteOrder });
    const object = readBpfObject(bytes);
    const { sections, functions } = readelf(path);
    expect(object.sections).toEqual(sections);
    const programs = object.programs.map(({ name, section, offset, instructions }) => ({
      name,
      section,
      offset,
      size: instructions * 8,
    }));
    expect(programs.sort(byName)).toEqual(functions.sort(byName));
  });

  test.skipIf(noBpftool)(`has the variables that bpftool finds in its BTF${noBpftool ?? ""}`, () => {
    const { path, bytes } = compile(everything, { byteOrder });
    const { maps, globals } = readBpfObject(bytes);
    const ours = [
      ...maps.map(({ name }) => `.maps ${name}`),
      ...globals.map(({ section, name }) => `${section} ${name}`),
    ];
    expect([...ours, "license LICENSE"].sort()).toEqual(bpftoolVariables(path).sort());
  });
});

function byName(a: { readonly name: string }, b: { readonly name: string }): number {
  return a.name < b.name ? -1 : 1;
}

interface ReadelfSection {
  readonly Index: number;
  readonly Name: { readonly Value: string };
  readonly Type: { readonly Value: string };
  readonly Flags: { readonly Flags: readonly { readonly Name: string }[] };
  readonly Size: number;
}

interface ReadelfSymbol {
  readonly Name: { readonly Value: string };
  readonly Value: number;
  readonly Size: number;
  readonly Binding: { readonly Value: string };
  readonly Type: { readonly Value: string };
  readonly Section: { readonly Value: string };
}

interface ReadelfOutput {
  readonly Sections: readonly { readonly Section: ReadelfSection }[];
  readonly Symbols: readonly { readonly Symbol: ReadelfSymbol }[];
}

function readelf(path: string): {
  sections: BpfObject["sections"];
  functions: { name: string; section: string; offset: number; size: number }[];
} {
  const text = execFileSync("llvm-readelf", ["--elf-output-style=JSON", "-S", "-s", path], {
    encoding: "utf8",
  });
  const [file] = JSON.parse(text) as Record<string, ReadelfOutput>[];
  const [output = { Sections: [], Symbols: [] }] = Object.values(file ?? {});
  const shownFlags: Readonly<Record<string, string>> = {
    SHF_WRITE: "WRITE",
    SHF_ALLOC: "ALLOC",
    SHF_EXECINSTR: "EXEC",
    SHF_MERGE: "MERGE",
    SHF_STRINGS: "STRINGS",
  };
  const order = Object.values(shownFlags);
  return {
    sections: output.Sections.filter(({ Section }) => Section.Index > 0).map(({ Section }) => ({
      name: Section.Name.Value,
      type: Section.Type.Value.replace("SHT_", ""),
      size: Section.Size,
      flags: Section.Flags.Flags.flatMap(({ Name }) => shownFlags[Name] ?? []).sort(
        (a, b) => order.indexOf(a) - order.indexOf(b),
      ),
    })),
    functions: output.Symbols.map((row) => row.Symbol)
      .filter(({ Type, Section }) => Type.Value === "Function" && Section.Value !== ".text")
      .map(({ Name, Section, Value, Size }) => ({
        name: Name.Value,
        section: Section.Value,
        offset: Value,
        size: Size,
      })),
  };
}

interface BpftoolType {
  readonly id: number;
  readonly kind: string;
  readonly name: string;
  readonly vars?: readonly { readonly type_id: number }[];
}

function bpftoolVariables(path: string): string[] {
  const text = execFileSync("bpftool", ["-j", "btf", "dump", "file", path], { encoding: "utf8" });
  const { types } = JSON.parse(text) as { types: readonly BpftoolType[] };
  const names = new Map(types.map(({ id, name }) => [id, name]));
  return types
    .filter(({ kind }) => kind === "DATASEC")
    .flatMap(({ name, vars = [] }) => vars.map(({ type_id }) => `${name} ${names.get(type_id)}`));
}

describe("libbpf and we agree on which objects it opens", () => {
  const program = 'SEC("xdp") int pass(void *c) { return 2; }';
  const legacyMap = `struct bpf_map_def { unsigned int type, key_size, value_size, max_entries, map_flags; };
    struct bpf_map_def SEC("maps") old = { 1, 4, 8, 16, 0 };`;
  const map = (fields: string): string => `struct { ${fields} } m SEC(".maps"); ${program}`;

  test.skipIf(noBpftool).each<[what: string, source: string, options: CompileOptions, opens: boolean]>([
    ["everything at once", everything, {}, true],
    ["a bare program", program, {}, true],
    ["a bare program without BTF", program, { debug: false }, true],
    [
      "a map",
      map("__uint(type, 1); __type(key, int); __type(value, int); __uint(max_entries, 1);"),
      {},
      true,
    ],
    ["a map without BTF", map("__uint(type, 1); __uint(max_entries, 1);"), { debug: false }, false],
    ["a map without a type", map("__uint(max_entries, 1);"), {}, false],
    ["a map with a field of its own", map("__uint(type, 1); __uint(colour, 1);"), {}, false],
    [
      "a map whose sizes contradict",
      map("__uint(type, 1); __uint(key_size, 8); __type(key, int);"),
      {},
      false,
    ],
    ["a map with a plain number", map("int type; int max_entries;"), {}, false],
    [
      "a static map",
      `static ${map("__uint(type, 1);").replace("pass(void *c) {", "pass(void *c) { int k = 1; bpf_map_lookup_elem(&m, &k);")}`,
      {},
      false,
    ],
    ["a map in the legacy section", `${legacyMap} ${program}`, {}, false],
    [
      "a static function among the programs",
      `static __attribute__((noinline)) SEC("xdp") int helper(int *x) { return *x; } SEC("xdp") int pass(int *c) { return helper(c); }`,
      {},
      false,
    ],
    [
      "an extern without BTF",
      `extern int LINUX_KERNEL_VERSION __kconfig; SEC("xdp") int pass(void *c) { return LINUX_KERNEL_VERSION; }`,
      { debug: false },
      false,
    ],
  ])(`%s${noBpftool ?? ""}`, (_, source, options, opens) => {
    const { path, bytes } = compile(source, options);
    expect(libbpfOpens(path), "libbpf").toBe(opens);
    expect(readBpfObject(bytes).problems.length === 0, "bpfcache").toBe(opens);
  });
});

/** Making a skeleton opens the object with libbpf, and asks nothing of the kernel. */
function libbpfOpens(path: string): boolean {
  try {
    execFileSync("bpftool", ["gen", "skeleton", path], { stdio: ["ignore", "ignore", "ignore"] });
    return true;
  } catch {
    return false;
  }
}

test.skipIf(requireTools("clang", "llvm-strip"))(
  "an object without debug sections is read, a stripped one is refused",
  () => {
    const { path, bytes } = compile(everything);
    const before = readBpfObject(bytes);
    const strip = (...options: string[]): Buffer =>
      execFileSync("llvm-strip", [...options, path, "-o", "-"], { maxBuffer: 1 << 24 });
    const after = readBpfObject(strip("-g"));
    expect({ ...after, sections: [] }).toEqual({ ...before, sections: [] });
    expect(() => readBpfObject(strip())).toThrow(/no symbol table/);
  },
);

test("the program that runs this test is called what it is", () => {
  const head = readFileSync(process.execPath).subarray(0, 4_096);
  expect(() => readBpfObject(head)).toThrow(/^this is a 64-bit .*-endian .* executable, not an eBPF object$/);
});
