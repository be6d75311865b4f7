import { type CompileOptions, everything } from "./clang.js";

/** An object to compile, and where it may fail to load though nothing is wrong with it. */
export interface ObjectPlan {
  readonly name: string;
  readonly source: string;
  readonly options?: CompileOptions;
  /** Why libbpf or the kernel may refuse it here; without it, it must load. */
  readonly mayFail?: string;
}

const vmlinux = "the kernel may lack the function that it attaches to, or refuse trampolines (EPERM)";
const libbpf = "libbpf 1.1 does not know the section";

/** A program in each of these sections, which does nothing but return. */
function programs(sections: readonly string[], result = 0): string {
  return sections
    .map((section, index) => `SEC("${section}") int program_${index}(void *context) { return ${result}; }`)
    .join("\n");
}

/** Sections of one kind, what their programs return, and why they may not load. */
const kinds: readonly (readonly [
  name: string,
  sections: readonly string[],
  result?: number,
  mayFail?: string,
])[] = [
  ["xdp", ["xdp", "xdp.frags", "xdp/devmap", "xdp.frags/cpumap"], 2],
  ["tc", ["tc", "classifier", "action"]],
  ["tcx", ["tcx/ingress", "tcx/egress", "netkit/primary"], 0, libbpf],
  ["socket", ["socket"]],
  ["sk_skb", ["sk_skb", "sk_skb/stream_parser", "sk_skb/stream_verdict"], 1],
  ["sk_msg", ["sk_msg"], 1],
  ["sockops", ["sockops"], 1],
  ["sk_lookup", ["sk_lookup"], 1],
  ["sk_reuseport", ["sk_reuseport", "sk_reuseport/migrate"], 1],
  ["flow_dissector", ["flow_dissector"]],
  ["lwt", ["lwt_in", "lwt_out", "lwt_xmit", "lwt_seg6local"]],
  [
    "cgroup skb and sock",
    [
      "cgroup_skb/ingress",
      "cgroup_skb/egress",
      "cgroup/skb",
      "cgroup/sock",
      "cgroup/sock_create",
      "cgroup/sock_release",
      "cgroup/post_bind4",
      "cgroup/post_bind6",
    ],
    1,
  ],
  [
    "cgroup addresses",
    [
      "cgroup/bind4",
      "cgroup/bind6",
      "cgroup/connect4",
      "cgroup/connect6",
      "cgroup/sendmsg4",
      "cgroup/sendmsg6",
      "cgroup/recvmsg4",
      "cgroup/recvmsg6",
      "cgroup/getpeername4",
      "cgroup/getpeername6",
      "cgroup/getsockname4",
      "cgroup/getsockname6",
    ],
    1,
  ],
  ["cgroup controls", ["cgroup/sysctl", "cgroup/dev", "cgroup/getsockopt", "cgroup/setsockopt"], 1],
  ["perf_event", ["perf_event"]],
  ["tracepoint", ["tracepoint/syscalls/sys_enter_kill", "tp/sched/sched_switch"]],
  [
    "raw tracepoint",
    [
      "raw_tracepoint/sys_enter",
      "raw_tp/sys_exit",
      "raw_tracepoint.w/nbd_send_request",
      "raw_tp.w/nbd_send_request",
    ],
  ],
  ["tp_btf", ["tp_btf/sched_switch"], 0, vmlinux],
  ["kprobe", ["kprobe/do_unlinkat", "kretprobe/do_unlinkat", "ksyscall/kill", "kretsyscall/kill"]],
  ["kprobe.multi", ["kprobe.multi/bpf_fentry_test*", "kretprobe.multi/bpf_fentry_test*"]],
  [
    "uprobe",
    [
      "uprobe//bin/true:main",
      "uretprobe//bin/true:main",
      "uprobe.s//bin/true:main",
      "uretprobe.s//bin/true:main",
      "usdt//bin/true:provider:name",
    ],
  ],
  ["uprobe.multi", ["uprobe.multi//bin/true:main", "uretprobe.multi.s//bin/true:main"], 0, libbpf],
  ["fentry", ["fentry/bpf_fentry_test1", "fexit/bpf_fentry_test1"], 0, vmlinux],
  ["sleepable fentry", ["fentry.s/__x64_sys_kill", "fexit.s/__x64_sys_kill"], 0, vmlinux],
  ["fmod_ret", ["fmod_ret/bpf_modify_return_test", "fmod_ret.s/bpf_modify_return_test"], 0, vmlinux],
  [
    "lsm",
    ["lsm/file_mprotect", "lsm.s/file_open"],
    0,
    "the kernel may lack CONFIG_BPF_LSM, or refuse trampolines (EPERM)",
  ],
  [
    "lsm_cgroup",
    ["lsm_cgroup/socket_bind"],
    1,
    "the kernel may lack CONFIG_BPF_LSM, or refuse trampolines (EPERM)",
  ],
  ["iter", ["iter/task", "iter.s/task"], 0, vmlinux],
  ["freplace", ["freplace/some_function"], 0, "it replaces a function of a program that is not loaded"],
  ["syscall", ["syscall"]],
  ["netfilter", ["netfilter"], 1, libbpf],
  ["lirc_mode2", ["lirc_mode2"], 0, "the kernel may be built without CONFIG_BPF_LIRC_MODE2"],
  [
    "not loaded",
    ["?xdp", "xdp", "?kprobe/do_unlinkat", "?fentry.s/do_unlinkat"],
    2,
    "bpftool cannot pin a program that it did not load",
  ],
  ["unknown", ["my_section", "xdpx"], 0, "no type follows from the section"],
];

/** A map of a type; `fields` is everything else in its struct. */
function map(name: string, type: string, fields: string): string {
  return `struct { __uint(type, BPF_MAP_TYPE_${type}); ${fields} } ${name} SEC(".maps");`;
}

const pair = "__type(key, __u32); __type(value, __u64);";
const descriptors = "__uint(key_size, 4); __uint(value_size, 4); __uint(max_entries, 4);";

const plainMaps = [
  "struct flow { __u32 from, to; __u16 port; }; struct counters { __u64 packets, bytes[3]; };",
  map("hash", "HASH", "__type(key, struct flow); __type(value, struct counters); __uint(max_entries, 1024);"),
  map("array", "ARRAY", `${pair} __uint(max_entries, 7); __uint(map_flags, BPF_F_MMAPABLE);`),
  map("percpu_hash", "PERCPU_HASH", `${pair} __uint(max_entries, 3);`),
  map("percpu_array", "PERCPU_ARRAY", `${pair} __uint(max_entries, 5);`),
  map("lru_hash", "LRU_HASH", `${pair} __uint(max_entries, 128); __uint(map_flags, BPF_F_NO_COMMON_LRU);`),
  map("lru_percpu_hash", "LRU_PERCPU_HASH", `${pair} __uint(max_entries, 128);`),
  map(
    "lpm_trie",
    "LPM_TRIE",
    "__uint(key_size, 8); __uint(value_size, 4); __uint(max_entries, 9); __uint(map_flags, BPF_F_NO_PREALLOC);",
  ),
  map("a_map_with_a_long_name", "HASH", `${pair} __uint(max_entries, 1);`),
  programs(["xdp"], 2),
].join("\n");

const referringMaps = [
  "struct inner { __uint(type, BPF_MAP_TYPE_ARRAY); __uint(max_entries, 3); __type(key, int); __type(value, __u64); };",
  map("prog_array", "PROG_ARRAY", descriptors),
  map("perf_event_array", "PERF_EVENT_ARRAY", descriptors),
  map(
    "array_of_maps",
    "ARRAY_OF_MAPS",
    "__uint(max_entries, 2); __type(key, int); __array(values, struct inner);",
  ),
  map(
    "hash_of_maps",
    "HASH_OF_MAPS",
    "__uint(max_entries, 2); __type(key, int); __array(values, struct inner);",
  ),
  map("devmap", "DEVMAP", descriptors),
  map("devmap_hash", "DEVMAP_HASH", descriptors),
  map("cpumap", "CPUMAP", descriptors),
  map("xskmap", "XSKMAP", descriptors),
  map("sockmap", "SOCKMAP", descriptors),
  map("sockhash", "SOCKHASH", descriptors),
  map("cgroup_array", "CGROUP_ARRAY", descriptors),
  map("reuseport_sockarray", "REUSEPORT_SOCKARRAY", descriptors),
  programs(["xdp"], 2),
].join("\n");

const streamMaps = [
  map(
    "stack_trace",
    "STACK_TRACE",
    "__uint(key_size, 4); __uint(value_size, 8 * 16); __uint(max_entries, 32);",
  ),
  map("queue", "QUEUE", "__type(value, __u64); __uint(max_entries, 8);"),
  map("stack", "STACK", "__uint(value_size, 12); __uint(max_entries, 8);"),
  map("ringbuf", "RINGBUF", "__uint(max_entries, 1 << 16);"),
  map("user_ringbuf", "USER_RINGBUF", "__uint(max_entries, 1 << 16);"),
  map("bloom_filter", "BLOOM_FILTER", "__type(value, __u32); __uint(max_entries, 64); __uint(map_extra, 3);"),
  programs(["tracepoint/syscalls/sys_enter_kill"]),
].join("\n");

const storage = "__uint(map_flags, BPF_F_NO_PREALLOC); __type(key, int); __type(value, __u64);";
const storageMaps = [
  map("sk_storage", "SK_STORAGE", storage),
  map("inode_storage", "INODE_STORAGE", storage),
  map("task_storage", "TASK_STORAGE", storage),
  map(
    "cgroup_storage",
    "CGROUP_STORAGE",
    "__type(key, struct bpf_cgroup_storage_key); __type(value, __u64);",
  ),
  map("percpu_cgroup_storage", "PERCPU_CGROUP_STORAGE", "__type(key, __u64); __type(value, __u32);"),
  programs(["socket"]),
].join("\n");

/** A variable of each C type under the names `PREFIX_TYPE`, all with a value. */
function variables(prefix: string, qualifiers: string, section = ""): string {
  const integers = {
    char: "char",
    schar: "signed char",
    uchar: "unsigned char",
    short: "short",
    ushort: "unsigned short",
    int: "int",
    uint: "unsigned int",
    long: "long",
    ulong: "unsigned long",
    llong: "long long",
    ullong: "unsigned long long",
    int128: "__int128",
    uint128: "unsigned __int128",
    bool: "_Bool",
    u8: "__u8",
    s64: "__s64",
  };
  return [
    ...Object.entries(integers).map(
      ([name, type]) => `${qualifiers} ${type} ${prefix}_${name} ${section} = 1;`,
    ),
    `${qualifiers} enum mode ${prefix}_mode ${section} = DROP;`,
    `${qualifiers} enum { ${prefix}_A = 3 } ${prefix}_anonymous ${section} = ${prefix}_A;`,
    `${qualifiers} char ${prefix}_text[16] ${section} = "text";`,
    `${qualifiers} __u16 ${prefix}_ports[3] ${section} = {80, 443, 8080};`,
    `${qualifiers} int ${prefix}_grid[2][3] ${section} = {{1, 2, 3}, {4, 5, 6}};`,
    `${qualifiers} struct point ${prefix}_point ${section} = {1, 2, {3, 4}};`,
    `${qualifiers} struct point ${prefix}_points[2] ${section} = {{1, 2, {3, 4}}, {5, 6, {7, 8}}};`,
    `${qualifiers} union either ${prefix}_either ${section} = {7};`,
  ].join("\n");
}

const types = `
enum mode { PASS, DROP = 7 };
struct point { int x; long y; struct { char a; short b; } inner; };
union either { int number; char bytes[8]; };
`;

export const constants = `${types}
${variables("c", "const volatile")}
SEC("xdp") int pass(void *context) { return 2; }`;

const otherGlobals = `${types}
${variables("d", "")}
${variables("p", "", 'SEC(".data.private")')}
${variables("r", "const volatile", 'SEC(".rodata.own")')}
int zero, zeros[5];
void *pointer;
struct point empty;
static int hidden;
SEC("xdp") int pass(void *context) { hidden++; return zero + hidden; }
SEC("xdp") int count(void *context) { static int calls = 5; return calls++; }`;

const configuration = `
extern int LINUX_KERNEL_VERSION __kconfig;
extern _Bool CONFIG_BPF __kconfig __weak;
SEC("xdp") int version(void *context) { return LINUX_KERNEL_VERSION > 0 && CONFIG_BPF; }`;

const subprograms = `
static __attribute__((noinline)) int twice(int x) { return 2 * x; }
__attribute__((noinline)) int thrice(int x) { return 3 * x; }
SEC("tc") int first(struct __sk_buff *skb) { return twice(skb->len) & 1; }
SEC("tc") int second(struct __sk_buff *skb) { return thrice(skb->len) & 1; }
SEC("xdp") int a_function_whose_name_is_longer_than_the_kernel_keeps(void *context) { return 2; }`;

/** Instructions that the sets differ in: 32-bit jumps, wide comparisons, atomics. */
const arithmetic = `
const volatile unsigned int limit = 3;
__u64 total;
SEC("xdp") int count(struct xdp_md *context) {
  unsigned int index = context->rx_queue_index;
  int difference = (int)index - (int)limit;
  __sync_fetch_and_add(&total, 1);
  if (difference < 0 && index < limit) return 1;
  return (signed char)index > 0x7f ? 0 : 2;
}`;

const structOps = `
struct tcp_congestion_ops { unsigned int (*ssthresh)(void *sk); char name[16]; };
SEC("struct_ops/ssthresh") unsigned int ssthresh(void *context) { return 7; }
SEC(".struct_ops") struct tcp_congestion_ops congestion = { .ssthresh = (void *)ssthresh, .name = "bpf_test" };`;

const bare = programs(["xdp", "tc"], 2);

const big = { byteOrder: "big" } as const;
const mayFail = "it is for the other byte order";

export const plans: readonly ObjectPlan[] = [
  ...kinds.map(([name, sections, result, mayFail]): ObjectPlan => {
    const plan = { name: `programs: ${name}`, source: programs(sections, result) };
    return mayFail === undefined ? plan : { ...plan, mayFail };
  }),
  { name: "struct_ops", source: structOps, mayFail: "the kernel demands more of tcp_congestion_ops" },
  { name: "maps of values", source: plainMaps },
  { name: "maps of other things", source: referringMaps },
  { name: "maps of streams", source: streamMaps },
  { name: "maps of storage", source: storageMaps, mayFail: "some storage needs CONFIG_BPF_LSM" },
  { name: "constants", source: constants },
  { name: "variables", source: otherGlobals },
  { name: "configuration", source: configuration },
  { name: "subprograms", source: subprograms },
  { name: "everything", source: everything, mayFail: vmlinux },
  { name: "another free license", source: programs(["xdp"], 2), options: { license: "Dual BSD/GPL" } },
  { name: "no free license", source: programs(["xdp"], 2), options: { license: "Proprietary" } },
  { name: "nothing but BTF left of debugging", source: plainMaps, options: { strip: true } },
  { name: "variables, stripped of debugging", source: otherGlobals, options: { strip: true } },
  { name: "without BTF", source: bare, options: { debug: false } },
  { name: "constants without BTF", source: constants, options: { debug: false } },
  { name: "variables without BTF", source: otherGlobals, options: { debug: false } },
  { name: "maps without BTF", source: plainMaps, options: { debug: false }, mayFail: "libbpf wants BTF" },
  ...["v1", "v2", "v3", "v4"].map(
    (cpu): ObjectPlan => ({
      name: `-mcpu=${cpu}`,
      source: arithmetic,
      options: { cpu },
      ...(cpu === "v4" ? { mayFail: "libbpf or the kernel may be older than the instruction set" } : {}),
    }),
  ),
  { name: "big-endian programs", source: subprograms, options: big, mayFail },
  { name: "big-endian maps", source: plainMaps, options: big, mayFail },
  { name: "big-endian maps of other things", source: referringMaps, options: big, mayFail },
  { name: "big-endian constants", source: constants, options: big, mayFail },
  { name: "big-endian variables, stripped", source: otherGlobals, options: { ...big, strip: true }, mayFail },
  { name: "big-endian, without BTF", source: otherGlobals, options: { ...big, debug: false }, mayFail },
  { name: "big-endian -mcpu=v3", source: arithmetic, options: { ...big, cpu: "v3" }, mayFail },
];
