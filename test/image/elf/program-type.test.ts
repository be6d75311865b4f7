import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { sectionMeaning } from "../../../src/image/elf/program-type.js";

describe("the type of a program", () => {
  test.each([
    ["xdp", "xdp"],
    ["xdp/ingress", "xdp"],
    ["xdp.frags", "xdp"],
    ["xdp.frags/devmap", "xdp"],
    ["tc", "tc"],
    ["tc/ingress", "tc"],
    ["classifier", "tc"],
    ["classifier/tcx_stats", "tc"],
    ["tcx/egress", "tcx"],
    ["action", "sched_act"],
    ["kprobe/do_unlinkat", "kprobe"],
    ["kprobe.multi/tcp_*", "kprobe"],
    ["ksyscall/unlinkat", "kprobe"],
    ["kretprobe/do_unlinkat", "kretprobe"],
    ["kretsyscall/unlinkat", "kretprobe"],
    ["uprobe//usr/lib/libc.so.6:malloc", "uprobe"],
    ["uprobe.multi.s/x", "uprobe"],
    ["uretprobe", "uretprobe"],
    ["usdt//bin/x:provider:name", "uprobe"],
    ["tracepoint/syscalls/sys_enter_kill", "tracepoint"],
    ["tp/sched/sched_switch", "tracepoint"],
    ["raw_tracepoint/sys_enter", "raw_tracepoint"],
    ["raw_tp/sys_enter", "raw_tracepoint"],
    ["raw_tp.w/x", "raw_tracepoint_writable"],
    ["tp_btf/sched_switch", "tp_btf"],
    ["fentry/do_unlinkat", "fentry"],
    ["fexit.s/do_unlinkat", "fexit"],
    ["fmod_ret/security_file_open", "fmod_ret"],
    ["lsm/file_open", "lsm"],
    ["lsm.s/bprm_check_security", "lsm"],
    ["lsm_cgroup/socket_bind", "lsm"],
    ["iter/task", "iter"],
    ["struct_ops/tcp_cong_avoid", "struct_ops"],
    ["cgroup_skb/ingress", "cgroup_skb"],
    ["cgroup/skb", "cgroup_skb"],
    ["cgroup/connect4", "cgroup_sock_addr"],
    ["cgroup/sendmsg_unix", "cgroup_sock_addr"],
    ["cgroup/sock_create", "cgroup_sock"],
    ["cgroup/getsockopt", "cgroup_sockopt"],
    ["cgroup/sysctl", "cgroup_sysctl"],
    ["cgroup/dev", "cgroup_device"],
    ["socket", "socket_filter"],
    ["socket/http", "socket_filter"],
    ["sk_msg", "sk_msg"],
    ["sk_skb/stream_parser", "sk_skb"],
    ["sockops", "sock_ops"],
    ["perf_event", "perf_event"],
    ["freplace/handler", "ext"],
    ["syscall", "syscall"],
    ["sk_lookup/x", "sk_lookup"],
    ["sk_reuseport/migrate", "sk_reuseport"],
    ["netfilter", "netfilter"],
    ["lwt_xmit", "lwt_xmit"],
    ["flow_dissector", "flow_dissector"],
  ])("in section %s is %s", (section, type) => {
    expect(sectionMeaning(section).type).toBe(type);
    expect(sectionMeaning(`?${section}`).type).toBe(type);
  });

  test.each([
    "xdp_filter",
    "kprobes/x",
    "kprobe.s/x",
    "kprobe.bogus/x",
    "xdp.s",
    "cgroup/unheard_of",
    "cgroup",
    "prog",
    "constructor",
    "__proto__",
    "",
    "?",
    "/",
  ])("in section %j is not known, as libbpf does not know it", (section) => {
    expect(sectionMeaning(section)).toMatchObject({ type: "unspec", sleepable: false });
  });
});

test("what a program is attached to stands behind the first slash", () => {
  expect(sectionMeaning("tracepoint/syscalls/sys_enter_kill").attach).toBe("syscalls/sys_enter_kill");
  expect(sectionMeaning("cgroup/connect4").attach).toBe("connect4");
  expect(sectionMeaning("xdp").attach).toBeUndefined();
  expect(sectionMeaning("kprobe/").attach).toBeUndefined();
});

test("a question mark in front keeps loaders from loading a program", () => {
  expect(sectionMeaning("?xdp")).toMatchObject({ type: "xdp", autoload: false });
  expect(sectionMeaning("xdp").autoload).toBe(true);
});

test("programs may sleep when their section ends in .s, and syscall programs always", () => {
  for (const section of [
    "fentry.s/x",
    "lsm.s/x",
    "iter.s/task",
    "uprobe.s/x",
    "usdt.s/x",
    "struct_ops.s/x",
    "syscall",
  ]) {
    expect(sectionMeaning(section).sleepable, section).toBe(true);
  }
  for (const section of ["fentry/x", "xdp", "kprobe/x", "kprobe/x.s"]) {
    expect(sectionMeaning(section).sleepable, section).toBe(false);
  }
});

test("any name at all has a meaning", () => {
  fc.assert(
    fc.property(fc.string(), (section) => {
      expect(sectionMeaning(section).type).toMatch(/^[a-z_]+$/);
    }),
  );
});
