/** What holds a program where it is attached, whoever has made it (struct bpf_link_info; `bpftool -j link show`). */
export interface KernelLink {
  readonly id: number;
  /** xdp, perf_event, tracing, cgroup, … */
  readonly type: string;
  /** What it is attached to, as far as bpftool tells: an interface, a tracepoint, a cgroup's id; else empty. */
  readonly target: string;
}

/** As `bpftool -j link show` prints it: more with each version. */
export interface PrintedLink {
  readonly id: number;
  readonly type: string;
  readonly prog_id?: number;
  readonly [detail: string]: unknown;
}

/** By the ids of the programs. */
export function kernelLinksOf(printed: readonly PrintedLink[]): Map<number, KernelLink[]> {
  const links = new Map<number, KernelLink[]>();
  for (const link of printed) {
    const { id, type, prog_id: program } = link;
    if (program === undefined) continue;
    links.set(program, [...(links.get(program) ?? []), { id, type, target: targetOf(link) }]);
  }
  return links;
}

/** Each kind of link names its target in a way of its own (bpftool's link.c). */
const targets = [
  "devname",
  "ifindex",
  "tp_name",
  "tracepoint",
  "func",
  "target_name",
  "cgroup_id",
  "netns_ino",
];

function targetOf(link: PrintedLink): string {
  const named = targets.map((name) => link[name]).find((value) => value !== undefined);
  return [named, link["attach_type"]].filter((part) => part !== undefined).join(" ");
}
