import { execFileSync, spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll } from "vitest";
import type { ByteOrder } from "../../../src/core/platform.js";

const directory = mkdtempSync(join(tmpdir(), "bpfcache-clang-"));
afterAll(() => rmSync(directory, { recursive: true, force: true }));
let compiled = 0;

export interface CompileOptions {
  readonly byteOrder?: ByteOrder;
  /** Without debug information there is no BTF. */
  readonly debug?: boolean;
  /** The instruction set, as -mcpu takes it: v1, v2, v3, v4. */
  readonly cpu?: string;
  /** Take the debug sections away again, as `llvm-strip -g` does; BTF stays. */
  readonly strip?: boolean;
  /** GPL unless told. */
  readonly license?: string;
}

export interface CompiledObject {
  readonly path: string;
  readonly bytes: Buffer;
}

/** An object that clang makes of `source`; the usual headers are included in front. */
export function compile(
  source: string,
  { byteOrder = "little", debug = true, cpu, strip = false, license = "GPL" }: CompileOptions = {},
): CompiledObject {
  const path = join(directory, `object${compiled++}.o`);
  const target = byteOrder === "little" ? "bpfel" : "bpfeb";
  const flags = [
    "-O2",
    "-target",
    target,
    ...(cpu === undefined ? [] : [`-mcpu=${cpu}`]),
    `-I/usr/include/${process.arch === "arm64" ? "aarch64" : "x86_64"}-linux-gnu`,
  ];
  const headers = "#include <linux/bpf.h>\n#include <bpf/bpf_helpers.h>\n";
  const input = `${headers}${source}\nchar LICENSE[] SEC("license") = "${license}";\n`;
  execFileSync("clang", [...flags, ...(debug ? ["-g"] : []), "-x", "c", "-c", "-", "-o", path], {
    input,
    stdio: ["pipe", "ignore", "pipe"],
  });
  if (strip) execFileSync("llvm-strip", ["-g", path]);
  return { path, bytes: readFileSync(path) };
}

/** Whether this clang knows an instruction set: v4 came with clang 18. */
export function knowsCpu(cpu: string): boolean {
  const { status } = spawnSync(
    "clang",
    ["-target", "bpf", `-mcpu=${cpu}`, "-x", "c", "-c", "-", "-o", "/dev/null"],
    {
      input: "",
      stdio: ["pipe", "ignore", "ignore"],
    },
  );
  return status === 0;
}

/** A program of each kind of thing: maps old and new, globals of all sections, subprograms, CO-RE. */
export const everything = `
struct event { int pid; char comm[16]; __u64 when; };
typedef struct event event_t;
struct kernel_task { int pid; int tgid; } __attribute__((preserve_access_index));

struct { __uint(type, BPF_MAP_TYPE_HASH); __type(key, __u32); __type(value, event_t);
         __uint(max_entries, 1024); __uint(map_flags, BPF_F_NO_PREALLOC); } events SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY); __uint(key_size, 4); __uint(value_size, 24);
         __uint(max_entries, 7); __uint(pinning, LIBBPF_PIN_BY_NAME); } stats SEC(".maps");
struct { __uint(type, BPF_MAP_TYPE_RINGBUF); __uint(max_entries, 4096); } ring SEC(".maps");
struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 3); __type(key, int); __type(value, __u64); };
struct { __uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS); __uint(max_entries, 2); __type(key, int);
         __array(values, struct inner); } outer SEC(".maps");

const volatile unsigned int limit = 3;
const volatile char prefix[2][8] = { "a", "b" };
int counter;
static event_t *last;
__u64 start = 77;
int hidden SEC(".data.private");
extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_BPF __kconfig __weak;

static __attribute__((noinline)) int subprogram(int x) { return x * counter; }

SEC("xdp") int pass(struct xdp_md *c) {
  __u32 key = limit + prefix[0][c->rx_queue_index & 7];
  last = bpf_map_lookup_elem(&events, &key);
  bpf_map_lookup_elem(&stats, &key); bpf_map_lookup_elem(&outer, &key);
  bpf_printk("seen %d", key);
  return subprogram(key) + LINUX_KERNEL_VERSION + CONFIG_BPF;
}
SEC("xdp") int drop(struct xdp_md *c) { start++; hidden++; return XDP_DROP; }
SEC("?kprobe/do_unlinkat") int unlinked(struct kernel_task *task) {
  event_t *event = bpf_ringbuf_reserve(&ring, sizeof(event_t), 0);
  if (event) { bpf_ringbuf_discard(event, 0); }
  return bpf_core_field(task);
}
SEC("tracepoint/syscalls/sys_enter_kill") __attribute__((weak)) int killed(void *c) { return last != 0; }
SEC("fentry.s/do_unlinkat") int entered(void *c) { return 0; }
`.replace("bpf_core_field(task)", "task->pid + task->tgid");
