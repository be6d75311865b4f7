import { compile } from "../image/elf/clang.js";

/** Sections that stand for the eight types, with the kernel's name of the type and what their programs return. */
export const kinds = [
  ["xdp", "xdp", 2],
  ["tc", "sched_cls", 0],
  ["tracepoint/sched/sched_switch", "tracepoint", 0],
  ["kprobe/do_nanosleep", "kprobe", 0],
  ["raw_tracepoint/sched_switch", "raw_tracepoint", 0],
  ["cgroup_skb/ingress", "cgroup_skb", 1],
  ["socket", "socket_filter", 0],
  ["perf_event", "perf_event", 0],
] as const;

const counts = `
struct { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 4); __type(key, __u32); __type(value, __u64); }
  counts SEC(".maps");
const volatile unsigned int step = 1;
static __attribute__((always_inline)) void count(void) {
  __u32 key = 0;
  __u64 *value = bpf_map_lookup_elem(&counts, &key);
  if (value) *value += step;
}`;

/** An object with a program `name` of one section, that counts its runs in the map `counts`, in steps of `step`. */
export function countingObject(name: string, section = "xdp", result = 2): Buffer {
  return objectOf([[name, section, result]]);
}

export function objectOf(
  programs: readonly (readonly [name: string, section: string, result: number])[],
): Buffer {
  const functions = programs.map(
    ([name, section, result]) =>
      `SEC("${section}") int ${name}(void *context) { count(); return ${result}; }`,
  );
  return compile([counts, ...functions].join("\n")).bytes;
}
