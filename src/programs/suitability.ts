import { existsSync } from "node:fs";
import { endianness } from "node:os";
import { BpfcacheError } from "../core/errors.js";
import type { BpfObject, BpfProgram } from "../image/elf/bpf-object.js";
import { requireBpffs } from "./pins.js";
import type { LoadVia } from "./programs.js";

const kernelBtf = "/sys/kernel/btf/vmlinux";

/**
 * What can be known without asking the kernel. Throws PLATFORM_MISMATCH for an object that is not for this host,
 * INVALID_IMAGE for one that libbpf would refuse or whose names are paths, USAGE where programs cannot be loaded.
 */
export function requireSuitable(object: BpfObject, via: LoadVia, chosen: readonly BpfProgram[]): void {
  if (process.platform !== "linux") {
    throw new BpfcacheError("USAGE", `programs are loaded on Linux, and this is ${process.platform}`);
  }
  const order = endianness() === "LE" ? "little" : "big";
  if (object.byteOrder !== order) {
    throw new BpfcacheError(
      "PLATFORM_MISMATCH",
      `the object is ${object.byteOrder}-endian, and this host is ${order}-endian`,
      { expected: order, found: object.byteOrder },
    );
  }
  const [problem] = object.problems;
  if (problem !== undefined)
    throw new BpfcacheError("INVALID_IMAGE", `libbpf would not open the object: ${problem}`);
  if (object.coreRelocations > 0 && !existsSync(kernelBtf)) {
    throw new BpfcacheError(
      "PLATFORM_MISMATCH",
      "the object is relocated against the kernel's types, and this kernel does not tell them",
      { hint: `It needs CONFIG_DEBUG_INFO_BTF, which gives ${kernelBtf}.` },
    );
  }
  if (via === "bpftool") requireForBpftool(object, chosen);
  for (const { name } of [...object.programs, ...object.maps]) requirePlainName(name);
  requireBpffs();
}

/** What bpftool (seen in 7.1) starts with and fails at, leaving pins of its own behind. */
function requireForBpftool({ maps }: BpfObject, chosen: readonly BpfProgram[]): void {
  const hint = "Load it with --via libbpf.";
  const unloaded = chosen.find(({ autoload }) => !autoload);
  if (unloaded !== undefined) {
    throw new BpfcacheError(
      "USAGE",
      `bpftool does not load ${unloaded.name}: its section ${unloaded.section} says not to`,
      { hint },
    );
  }
  const pinned = maps.find(({ pinning = 0 }) => pinning !== 0);
  if (pinned === undefined) return;
  throw new BpfcacheError(
    "USAGE",
    `bpftool pins the map ${pinned.name} by its name, outside of our directory`,
    { hint },
  );
}

/** Loaders make paths of names, and an object may call its functions what it likes. */
function requirePlainName(name: string): void {
  if (/^[A-Za-z0-9_.$]{1,255}$/.test(name) && !/^\.+$/.test(name)) return;
  throw new BpfcacheError("INVALID_IMAGE", `${JSON.stringify(name)} is not a name to pin something under`);
}
