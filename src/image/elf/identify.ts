import type { ByteOrder } from "../../core/platform.js";

/** How many bytes of a file tell what kind of ELF it is. */
const identityBytes = 20;

const relocatable = 1;
const bpfMachine = 247;

const objectTypes: Readonly<Record<number, string>> = {
  [relocatable]: "object",
  2: "executable",
  3: "shared object or executable",
  4: "core dump",
};

/** e_machine of what turns up under the name of an eBPF object by mistake (System V gABI, "ELF Header"). */
const machines: Readonly<Record<number, string>> = {
  3: "x86",
  8: "MIPS",
  20: "PowerPC",
  21: "PowerPC64",
  22: "s390",
  40: "Arm",
  62: "x86-64",
  183: "AArch64",
  [bpfMachine]: "eBPF",
  243: "RISC-V",
  258: "LoongArch",
};

interface ElfIdentity {
  readonly bits: 32 | 64;
  readonly byteOrder: ByteOrder;
  readonly type: number;
  readonly machine: number;
}

/** Whether a file beginning with `head` (20 bytes are enough) is an eBPF object: ELF64, relocatable, machine EM_BPF. */
export function isBpfElf(head: Uint8Array): boolean {
  const identity = identify(head);
  return identity?.bits === 64 && identity.type === relocatable && identity.machine === bpfMachine;
}

/** What a file beginning with `head` is, as "a 64-bit little-endian x86-64 object"; undefined when it is not ELF. */
export function describeElf(head: Uint8Array): string | undefined {
  if (!hasElfMagic(head)) return undefined;
  const identity = identify(head);
  if (identity === undefined) return "a malformed ELF file";
  const machine = machines[identity.machine] ?? `machine-${identity.machine}`;
  const type = objectTypes[identity.type] ?? "ELF file";
  return `a ${identity.bits}-bit ${identity.byteOrder}-endian ${machine} ${type}`;
}

/** The byte order of an eBPF object's head, or of any other ELF file's; undefined when it is not ELF. */
export function elfByteOrder(head: Uint8Array): ByteOrder | undefined {
  return identify(head)?.byteOrder;
}

function hasElfMagic(head: Uint8Array): boolean {
  return head[0] === 0x7f && head[1] === 0x45 && head[2] === 0x4c && head[3] === 0x46;
}

function identify(head: Uint8Array): ElfIdentity | undefined {
  if (!hasElfMagic(head) || head.byteLength < identityBytes) return undefined;
  const [, , , , elfClass, encoding] = head;
  if (elfClass !== 1 && elfClass !== 2) return undefined;
  if (encoding !== 1 && encoding !== 2) return undefined;
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const littleEndian = encoding === 1;
  return {
    bits: elfClass === 2 ? 64 : 32,
    byteOrder: littleEndian ? "little" : "big",
    type: view.getUint16(16, littleEndian),
    machine: view.getUint16(18, littleEndian),
  };
}
