import { closeSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";

// The kernel tells it in /proc/PID/fdinfo of whoever has the program open (since Linux 5.16), and bpffs opens programs
// by bpf(2) alone. koffi, which is optional, makes that call; no byte of an object comes near it.

type OpenPin = (path: string) => number;

/** bpf(2) by Node's names of the architectures (asm/unistd.h). */
const bpfCall: Readonly<Record<string, number>> = {
  x64: 321,
  arm64: 280,
  riscv64: 280,
  loong64: 280,
  s390x: 351,
  ppc64: 361,
};

const objectGet = 7; // BPF_OBJ_GET, linux/bpf.h

let opener: OpenPin | undefined | null;

/** Undefined without koffi, on other architectures and on older kernels. */
export function readVerifiedInstructions(pin: string): number | undefined {
  opener ??= makeOpener() ?? null;
  const descriptor = opener?.(pin) ?? -1;
  if (descriptor < 0) return undefined;
  try {
    const found = /^verified_insns:\s+(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${descriptor}`, "utf8"));
    return found === null ? undefined : Number(found[1]);
  } finally {
    closeSync(descriptor);
  }
}

function makeOpener(): OpenPin | undefined {
  const call = bpfCall[process.arch];
  if (call === undefined || process.platform !== "linux") return undefined;
  try {
    const koffi = createRequire(import.meta.url)("koffi") as typeof import("koffi");
    koffi.struct("bpf_obj_attr", { pathname: "const char *", bpf_fd: "uint32_t", file_flags: "uint32_t" });
    const syscall = koffi
      .load(null)
      .func("long syscall(long number, int command, const bpf_obj_attr *attr, unsigned int size)");
    return (pathname) => Number(syscall(call, objectGet, { pathname, bpf_fd: 0, file_flags: 0 }, 16));
  } catch {
    return undefined; // Not installed, or not for this C library.
  }
}
