// How long reading the ELF and BTF of a large object takes, beside `bpftool btf dump` of the same file. After a build:
//
//     node test/bench/read-object.js [FILE]
//
// Without a file clang compiles one of about 500 KB: some hundred programs and maps over a few thousand types.

import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readBpfObject } from "../../dist/image/elf/bpf-object.js";
import { setGlobals } from "../../dist/image/elf/set-globals.js";

const warmUps = 50;
const runs = 200;

/**
 * Its path.
 *
 * @param {string} directory
 */
function largeObject(directory) {
  const source = [
    "#include <linux/bpf.h>",
    "#include <bpf/bpf_helpers.h>",
    ...Array.from({ length: 120 }, (_, index) => part(index)),
    'char LICENSE[] SEC("license") = "GPL";',
  ].join("\n");
  const path = join(directory, "large.o");
  const include = `-I/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`;
  execFileSync("clang", ["-O2", "-g", "-target", "bpf", include, "-x", "c", "-c", "-", "-o", path], {
    input: source,
  });
  // Without DWARF, which no loader reads and images seldom have.
  execFileSync("llvm-strip", ["-g", path]);
  return path;
}

/** @param {number} index */
function part(index) {
  const members = Array.from({ length: 16 }, (_, at) => `__u64 member_${index}_${at};`).join(" ");
  return `
    struct key_${index} { __u32 address_${index}; __u16 port_${index}; };
    struct value_${index} { ${members} struct key_${index} *next; };
    struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, struct key_${index}); __type(value, struct value_${index});
             __uint(max_entries, 1024); } map_${index} SEC(".maps");
    const volatile int limit_${index} = ${index};
    __u64 counters_${index}[4];
    SEC("xdp/part_${index}") int program_${index}(struct xdp_md *context) {
      struct key_${index} key = { context->rx_queue_index, limit_${index} };
      struct value_${index} *value = bpf_map_lookup_elem(&map_${index}, &key);
      if (!value) return XDP_PASS;
      ${Array.from({ length: 12 }, (_, at) => `value->member_${index}_${at} += counters_${index}[${at & 3}]++ * ${at + 3};`).join("\n      ")}
      bpf_printk("part ${index}: %d %d", key.address_${index}, key.port_${index});
      return XDP_DROP;
    }`;
}

/**
 * In milliseconds, of so many runs after the warm-up.
 *
 * @param {() => void} action
 */
function measure(action, { count = runs, warm = warmUps } = {}) {
  const first = time(action);
  for (let run = 1; run < warm; run++) action();
  const times = Array.from({ length: count }, () => time(action)).sort((a, b) => a - b);
  /** @param {number} part */
  const at = (part) => times[Math.min(count - 1, Math.floor(part * count))] ?? Number.NaN;
  return { first, median: at(0.5), p95: at(0.95) };
}

/** @param {() => void} action */
function time(action) {
  const started = performance.now();
  action();
  return performance.now() - started;
}

/**
 * @param {string} name
 * @param {ReturnType<typeof measure>} times
 */
function row(name, { first, median, p95 }) {
  const cells = [first, median, p95].map((value) => `${value.toFixed(2)} ms`.padStart(10));
  console.log(`${name.padEnd(34)}${cells.join("")}`);
}

const directory = mkdtempSync(join(tmpdir(), "bpfcache-bench-"));
try {
  const path = process.argv[2] ?? largeObject(directory);
  const bytes = readFileSync(path);
  const started = performance.now();
  const object = readBpfObject(bytes);
  const cold = performance.now() - started;
  const btf = object.sections.find(({ name }) => name === ".BTF")?.size ?? 0;
  const { programs, maps, globals, sections } = object;
  console.log(
    `${(bytes.length / 1_000).toFixed(0)} KB, ${(btf / 1_000).toFixed(0)} KB of BTF: ${programs.length} programs, ` +
      `${maps.length} maps, ${globals.length} globals, ${sections.length} sections`,
  );
  console.log(`${"".padEnd(34)}${["first", "median", "95 %"].map((head) => head.padStart(10)).join("")}`);
  row("readBpfObject", { ...measure(() => readBpfObject(bytes)), first: cold });
  const constant = globals.find(({ section, type }) => section === ".rodata" && type === "int")?.name;
  if (constant !== undefined) {
    row(
      "setGlobals, one constant",
      measure(() => setGlobals(bytes, { [constant]: 7 })),
    );
  }
  const few = { count: 20, warm: 2 };
  /** @param {string[]} args */
  const run = (...args) => execFileSync("bpftool", args, { stdio: "ignore", maxBuffer: 1 << 28 });
  row(
    "bpftool btf dump (a process)",
    measure(() => run("btf", "dump", "file", path), few),
  );
  row(
    "bpftool version (a process)",
    measure(() => run("version"), few),
  );
} finally {
  rmSync(directory, { recursive: true });
}
