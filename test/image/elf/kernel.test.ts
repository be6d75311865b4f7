import { basename } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { type BpfObject, readBpfObject } from "../../../src/image/elf/bpf-object.js";
import { requireKernel, requireTools } from "../../support/tools.js";
import { type CompiledObject, compile, knowsCpu } from "./clang.js";
import { type ObjectPlan, plans } from "./kernel-objects.js";
import {
  BtfDump,
  type DumpedMap,
  type KernelMap,
  LoadedObject,
  pinsLeft,
  readelfLicense,
  readelfSymbols,
} from "./kernel-tools.js";

const noCompiler = requireTools("clang", "llvm-strip");
const noReadelf = noCompiler ?? requireTools("llvm-readelf");
const noBpftool = noCompiler ?? requireTools("bpftool");
const noKernel = noBpftool ?? requireKernel();

const compiled = new Map<string, CompiledObject>();

function compileOnce({ name, source, options }: ObjectPlan): CompiledObject {
  const object = compiled.get(name) ?? compile(source, options);
  compiled.set(name, object);
  return object;
}

/** Why an object cannot be made here: a compiler that is too old for it. */
function unknownCpu({ options }: ObjectPlan): string | undefined {
  const cpu = noCompiler === undefined ? options?.cpu : undefined;
  return cpu === undefined || knowsCpu(cpu) ? undefined : ` (skipped: this clang does not know ${cpu})`;
}

const reasonsNotLoaded = new Map<string, string>();
let loaded = 0;

describe.each(plans.map((plan) => [plan.name, plan] as const))("an object of %s", (_, plan) => {
  const cannot = unknownCpu(plan);
  const hasBtf = plan.options?.debug !== false;

  const withoutReadelf = cannot ?? noReadelf;
  test.skipIf(withoutReadelf)(
    `has the programs, variables and license that llvm-readelf finds${withoutReadelf ?? ""}`,
    () => {
      const { path, bytes } = compileOnce(plan);
      const object = readBpfObject(bytes);
      const symbols = readelfSymbols(path);
      const programs = symbols.filter(({ type, section }) => type === "Function" && section !== ".text");
      expect(
        sorted(
          object.programs.map(({ name, section, offset, instructions }) => ({
            name,
            section,
            offset,
            size: 8 * instructions,
          })),
        ),
      ).toEqual(sorted(programs.map(({ name, section, offset, size }) => ({ name, section, offset, size }))));
      const inData = symbols.filter(
        ({ type, section }) => type === "Object" && /^\.(rodata|data|bss)/.test(section),
      );
      const ours = object.globals.filter(({ section }) => section !== ".kconfig");
      expect(
        sorted(ours.map(({ name, section, offset, size }) => ({ name, section, offset, size }))),
      ).toEqual(sorted(inData.map(({ name, section, offset, size }) => ({ name, section, offset, size }))));
      const maps = symbols
        .filter(({ section }) => section === ".maps" || section === ".struct_ops")
        .map(({ name }) => name);
      expect(object.maps.map(({ name }) => name).sort()).toEqual(maps.sort());
      expect(object.license).toBe(readelfLicense(path));
    },
  );

  const withoutBpftool = cannot ?? noBpftool ?? (hasBtf ? undefined : " (skipped: it has no BTF)");
  test.skipIf(withoutBpftool)(
    `has the map shapes and variables that bpftool finds in its BTF${withoutBpftool ?? ""}`,
    () => {
      const { path, bytes } = compileOnce(plan);
      const object = readBpfObject(bytes);
      const dump = new BtfDump(path);
      const declared = object.maps.filter(({ type }) => type !== "struct_ops");
      expect(sorted(declared.map(shape))).toEqual(sorted(dump.maps.map(dumpedShape)));
      const variables = dump.variables.filter(({ section }) => /^\.(rodata|data|bss|kconfig)/.test(section));
      expect(sorted(object.globals.map(({ name, section, size }) => ({ name, section, size })))).toEqual(
        sorted(variables),
      );
      expect(object.globals.filter(({ type }) => type === undefined)).toEqual([]);
    },
  );

  const withoutKernel = cannot ?? noKernel;
  test.skipIf(withoutKernel)(`is what the kernel reports of it${withoutKernel ?? ""}`, (context) => {
    const { path, bytes } = compileOnce(plan);
    const inKernel = LoadedObject.load(path);
    if (typeof inKernel === "string") {
      reasonsNotLoaded.set(plan.name, inKernel);
      if (plan.mayFail === undefined) throw new Error(inKernel);
      context.skip(`it does not load here: ${plan.mayFail}`);
      return;
    }
    using _ = inKernel;
    loaded++;
    const object = readBpfObject(bytes);
    expect(inKernel.programs.map(({ name, type }) => ({ name, type }))).toEqual(
      sorted(
        object.programs
          .filter(({ autoload }) => autoload)
          .map(({ name, type }) => ({ name, type: kernelType(type) })),
      ),
    );
    expect(new Set(inKernel.programs.map((program) => program.gpl_compatible))).toEqual(
      new Set([freeLicenses.has(object.license)]),
    );
    const expected = [
      ...object.maps.map(shape).map(asKernelCompletes),
      ...mapsOfSections(object, basename(path, ".o")),
    ];
    expect(sorted(inKernel.maps.map(kernelShape))).toEqual(sorted(expected));
    if (!hasBtf) return;
    for (const { name: section } of dataSections(object)) {
      const names = object.globals.filter((global) => global.section === section).map(({ name }) => name);
      expect(Object.keys(inKernel.variables(section) ?? {}).sort(), section).toEqual(names.sort());
    }
  });
});

describe("the kernel", () => {
  test.skipIf(noKernel)(`has taken most of the objects${noKernel ?? ""}`, () => {
    const asked = plans.filter((plan) => unknownCpu(plan) === undefined);
    console.info(
      `${asked.length} objects, ${loaded} loaded; not loaded:`,
      [...reasonsNotLoaded.keys()].join(", "),
    );
    expect(asked.length).toBeGreaterThanOrEqual(30);
    expect(loaded).toBeGreaterThanOrEqual(30);
  });
});

afterAll(() => {
  if (noKernel === undefined) expect(pinsLeft()).toEqual([]);
});

function sorted<T extends { readonly name: string }>(all: readonly T[]): T[] {
  const key = (one: T): string => `${one.name} ${"section" in one ? one.section : ""}`;
  return [...all].sort((a, b) => (key(a) < key(b) ? -1 : 1));
}

type Shape = Omit<DumpedMap, "type"> & { readonly type: string };

function kernelShape({ name, type, flags, bytes_key, bytes_value, max_entries }: KernelMap): Shape {
  // The running kernel lays the value of struct_ops out, and alone knows how large it is.
  const valueSize = type === "struct_ops" ? 0 : bytes_value;
  return { name, type, keySize: bytes_key, valueSize, maxEntries: max_entries, flags };
}

/** Of those that the objects have (include/linux/license.h). */
const freeLicenses: ReadonlySet<string | undefined> = new Set(["GPL", "Dual BSD/GPL"]);

/** What an object leaves out is 0 to the kernel. */
function shape({
  name,
  type,
  keySize = 0,
  valueSize = 0,
  maxEntries = 0,
  flags = 0,
}: BpfObject["maps"][number]): Shape {
  return { name, type, keySize, valueSize, maxEntries, flags };
}

/** enum bpf_map_type, from linux/bpf.h, for the types that the objects have. */
const mapTypeNumbers: Readonly<Record<number, string>> = {
  1: "hash",
  2: "array",
  3: "prog_array",
  4: "perf_event_array",
  5: "percpu_hash",
  6: "percpu_array",
  7: "stack_trace",
  8: "cgroup_array",
  9: "lru_hash",
  10: "lru_percpu_hash",
  11: "lpm_trie",
  12: "array_of_maps",
  13: "hash_of_maps",
  14: "devmap",
  15: "sockmap",
  16: "cpumap",
  17: "xskmap",
  18: "sockhash",
  19: "cgroup_storage",
  20: "reuseport_sockarray",
  21: "percpu_cgroup_storage",
  22: "queue",
  23: "stack",
  24: "sk_storage",
  25: "devmap_hash",
  27: "ringbuf",
  28: "inode_storage",
  29: "task_storage",
  30: "bloom_filter",
  31: "user_ringbuf",
};

function dumpedShape(map: DumpedMap): Shape {
  return { ...map, type: mapTypeNumbers[map.type] ?? String(map.type) };
}

/** Names are cut to 15 characters; devmaps are made read-only to programs (kernel/bpf/devmap.c, BPF_F_RDONLY_PROG). */
function asKernelCompletes(map: Shape): Shape {
  const isDevmap = map.type === "devmap" || map.type === "devmap_hash";
  return { ...map, name: map.name.slice(0, 15), flags: isDevmap ? map.flags | 0x80 : map.flags };
}

function dataSections(object: BpfObject): BpfObject["sections"] {
  return object.sections.filter(({ name, size }) => /^\.(rodata|data|bss)(\.|$)/.test(name) && size > 0);
}

/** libbpf gathers the configuration, which is in no section of the file; the largest values first, without gaps. */
function configuration(object: BpfObject): { readonly name: string; readonly size: number }[] {
  const values = object.globals.filter(({ section }) => section === ".kconfig");
  const size = values.reduce((total, value) => total + value.size, 0);
  return size === 0 ? [] : [{ name: ".kconfig", size }];
}

/** Of 15 characters, at least 7 are the section's and the rest the file's; own sections go without (`internal_map_name`). */
function kernelName(section: string, file: string): string {
  if (section.lastIndexOf(".") > 0) return section.slice(0, 15);
  return `${file.slice(0, 15 - Math.max(7, section.length))}${section}`;
}

/** libbpf makes an array of one element of each data section: mmapable, and what is constant read-only to programs. */
function mapsOfSections(object: BpfObject, file: string): Shape[] {
  return [...dataSections(object), ...configuration(object)].map(({ name, size }) => ({
    name: kernelName(name, file),
    type: "array",
    keySize: 4,
    valueSize: size,
    maxEntries: 1,
    flags: 0x400 | (/^\.(rodata|kconfig)/.test(name) ? 0x80 : 0),
  }));
}

/** BPF_PROG_TYPE_* as bpftool prints them, of what is told apart by the section's name alone. */
const kernelTypes: Readonly<Record<string, string>> = {
  tc: "sched_cls",
  tcx: "sched_cls",
  kretprobe: "kprobe",
  uprobe: "kprobe",
  uretprobe: "kprobe",
  fentry: "tracing",
  fexit: "tracing",
  fmod_ret: "tracing",
  tp_btf: "tracing",
  iter: "tracing",
};

function kernelType(type: string): string {
  return kernelTypes[type] ?? type;
}
