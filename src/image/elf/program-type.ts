/** What libbpf concludes from a program's section name (libbpf.c, `section_defs`). */
export interface SectionMeaning {
  /** "unspec" when the name means nothing to libbpf: the loader must then be told the type. */
  readonly type: string;
  /** What the program is to be attached to, as written behind the first slash. */
  readonly attach: string | undefined;
  readonly sleepable: boolean;
  readonly autoload: boolean;
}

/**
 * Types by the part of the section name before the first slash. They are spelled as bpfman spells them, which tells
 * apart what the kernel lumps together (kprobe and uprobe, fentry and fexit), and as bpftool does for the rest.
 */
const typesByHead = new Map<string, string>([
  ["xdp", "xdp"],
  ["xdp.frags", "xdp"],
  ["tc", "tc"],
  ["classifier", "tc"],
  ["netkit", "tc"],
  ["tcx", "tcx"],
  ["action", "sched_act"],
  ["socket", "socket_filter"],
  ["sk_msg", "sk_msg"],
  ["sk_skb", "sk_skb"],
  ["sk_lookup", "sk_lookup"],
  ["sk_reuseport", "sk_reuseport"],
  ["sockops", "sock_ops"],
  ["flow_dissector", "flow_dissector"],
  ["lirc_mode2", "lirc_mode2"],
  ["netfilter", "netfilter"],
  ["lwt_in", "lwt_in"],
  ["lwt_out", "lwt_out"],
  ["lwt_xmit", "lwt_xmit"],
  ["lwt_seg6local", "lwt_seg6local"],
  ["cgroup_skb", "cgroup_skb"],
  ["perf_event", "perf_event"],
  ["tracepoint", "tracepoint"],
  ["tp", "tracepoint"],
  ["raw_tracepoint", "raw_tracepoint"],
  ["raw_tp", "raw_tracepoint"],
  ["raw_tracepoint.w", "raw_tracepoint_writable"],
  ["raw_tp.w", "raw_tracepoint_writable"],
  ["tp_btf", "tp_btf"],
  ["kprobe", "kprobe"],
  ["kprobe.multi", "kprobe"],
  ["kprobe.session", "kprobe"],
  ["ksyscall", "kprobe"],
  ["kretprobe", "kretprobe"],
  ["kretprobe.multi", "kretprobe"],
  ["kretsyscall", "kretprobe"],
  ["uprobe", "uprobe"],
  ["uprobe.multi", "uprobe"],
  ["uprobe.session", "uprobe"],
  ["usdt", "uprobe"],
  ["uretprobe", "uretprobe"],
  ["uretprobe.multi", "uretprobe"],
  ["fentry", "fentry"],
  ["fexit", "fexit"],
  ["fsession", "fsession"],
  ["fmod_ret", "fmod_ret"],
  ["freplace", "ext"],
  ["lsm", "lsm"],
  ["lsm_cgroup", "lsm"],
  ["iter", "iter"],
  ["struct_ops", "struct_ops"],
  ["syscall", "syscall"],
]);

/** Under `cgroup/` it is the part behind the slash that decides. */
const cgroupTypes: readonly (readonly [form: RegExp, type: string])[] = [
  [/^skb$/, "cgroup_skb"],
  [/^(sock|sock_create|sock_release|post_bind[46])$/, "cgroup_sock"],
  [/^(bind[46]|(connect|sendmsg|recvmsg|getpeername|getsockname)([46]|_unix))$/, "cgroup_sock_addr"],
  [/^sysctl$/, "cgroup_sysctl"],
  [/^[gs]etsockopt$/, "cgroup_sockopt"],
  [/^dev$/, "cgroup_device"],
];

/**
 * Reads a program's section name. Where libbpf demands the bare word ("xdp", "classifier") a suffix is accepted as
 * well: cilium/ebpf and aya do, and published objects have sections such as `classifier/tcx_stats`.
 */
export function sectionMeaning(section: string): SectionMeaning {
  const autoload = !section.startsWith("?");
  const name = autoload ? section : section.slice(1);
  const slash = name.indexOf("/");
  const head = slash < 0 ? name : name.slice(0, slash);
  const attach = slash < 0 ? undefined : name.slice(slash + 1) || undefined;
  const type =
    head === "cgroup"
      ? cgroupTypes.find(([form]) => form.test(attach ?? ""))?.[1]
      : typesByHead.get(awake(head));
  const sleepable = type !== undefined && (head.endsWith(".s") || head === "syscall");
  return { type: type ?? "unspec", attach, sleepable, autoload };
}

/** The types that libbpf knows in a sleepable kind, written with `.s` at the end. */
const sleepableHead =
  /^(fentry|fexit|fsession|fmod_ret|lsm|iter|usdt|struct_ops|u(?:ret)?probe(?:\.multi)?|uprobe\.session)\.s$/;

function awake(head: string): string {
  return sleepableHead.exec(head)?.[1] ?? head;
}
