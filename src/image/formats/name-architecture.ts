/**
 * What bpf2go, netobserv and others put into file names, as GOARCH: `bpf_x86_bpfel.o`, `prog_arm64_bpfel.o`
 * (cilium/ebpf, cmd/bpf2go, targets; its names are the kernel's and stand for both word sizes).
 */
const architectures: Readonly<Record<string, readonly string[]>> = {
  x86: ["386", "amd64"],
  amd64: ["amd64"],
  arm: ["arm"],
  arm64: ["arm64"],
  aarch64: ["arm64"],
  loongarch: ["loong64"],
  loong64: ["loong64"],
  mips: ["mips", "mipsle", "mips64", "mips64le"],
  powerpc: ["ppc64", "ppc64le"],
  ppc64: ["ppc64"],
  ppc64le: ["ppc64le"],
  riscv: ["riscv64"],
  riscv64: ["riscv64"],
  s390: ["s390x"],
  s390x: ["s390x"],
};

/** Whether an object's name says that it is for an architecture (GOARCH); undefined when it names none. */
export function isNamedFor(name: string, architecture: string): boolean | undefined {
  const words = (name.split("/").at(-1) ?? name).toLowerCase().split(/[^a-z0-9]+/);
  const named = words.flatMap((word) =>
    Object.hasOwn(architectures, word) ? (architectures[word] ?? []) : [],
  );
  return named.length === 0 ? undefined : named.includes(architecture);
}
