import { BpfcacheError } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import type { BpfObject } from "./elf/bpf-object.js";

/** What an image's labels claim about its object (bpfman, docs/developer-guide/shipping-bytecode.md). */
export interface BytecodeLabels {
  /** Function name to program type, as the label spells it. */
  readonly programs: ReadonlyMap<string, string>;
  readonly maps: ReadonlyMap<string, string>;
  /** The object's name in the layer; only the first generation of labels has it. */
  readonly filename: string | undefined;
}

const current = { programs: "io.ebpf.programs", maps: "io.ebpf.maps" } as const;

/** The first generation, replaced in May 2024 (bpfman PR 1141) and still found in registries. */
const legacy = {
  functionName: "io.ebpf.bpf_function_name",
  programName: "io.ebpf.program_name",
  programType: "io.ebpf.program_type",
  filename: "io.ebpf.filename",
} as const;

/**
 * Reads the labels of either generation; undefined when the image has none of them. Labels are a stranger's text:
 * one that is too long or is not what it should be throws INVALID_IMAGE before anything is stored.
 */
export function readBytecodeLabels(
  labels: Readonly<Record<string, string>>,
  limits: Limits,
): BytecodeLabels | undefined {
  for (const [name, value] of Object.entries(labels)) {
    if (name.startsWith("io.ebpf.") && Buffer.byteLength(value) > limits.labelBytes) {
      throw new BpfcacheError("INVALID_IMAGE", `the label ${name} is longer than ${limits.labelBytes} bytes`);
    }
  }
  const programs = labels[current.programs];
  const maps = labels[current.maps];
  if (programs !== undefined || maps !== undefined) {
    return {
      programs: readNames(current.programs, programs),
      maps: readNames(current.maps, maps),
      filename: labels[legacy.filename],
    };
  }
  const name = labels[legacy.functionName] ?? labels[legacy.programName];
  if (name === undefined) return undefined;
  return {
    programs: new Map([[name, labels[legacy.programType] ?? "unspec"]]),
    maps: new Map(),
    filename: labels[legacy.filename],
  };
}

function readNames(label: string, value: string | undefined): ReadonlyMap<string, string> {
  if (value === undefined || value === "") return new Map();
  let json: unknown;
  try {
    json = JSON.parse(value);
  } catch (cause) {
    throw new BpfcacheError("INVALID_IMAGE", `the label ${label} is not JSON`, { cause });
  }
  const entries =
    typeof json === "object" && json !== null && !Array.isArray(json) ? Object.entries(json) : undefined;
  if (entries === undefined || !entries.every(isStringEntry)) {
    throw new BpfcacheError("INVALID_IMAGE", `the label ${label} is not a JSON object of names and types`);
  }
  return new Map(entries);
}

function isStringEntry(entry: [string, unknown]): entry is [string, string] {
  return typeof entry[1] === "string";
}

/** The labels of the current generation for an object. What libbpf cannot type is left out, as bpfman does. */
export function writeBytecodeLabels({ programs, maps }: BpfObject): Readonly<Record<string, string>> {
  const typed = programs.filter(({ type }) => type !== "unspec");
  return {
    [current.maps]: sortedJson(maps.map(({ name, type }) => [name, type.replace("percpu", "per_cpu")])),
    [current.programs]: sortedJson(typed.map(({ name, type }) => [name, type])),
  };
}

function sortedJson(entries: readonly (readonly [string, string])[]): string {
  return JSON.stringify(Object.fromEntries([...entries].sort(([a], [b]) => (a < b ? -1 : Number(a > b)))));
}

/**
 * Two vocabularies of program types are in use: the kernel's (bpfman in Rust: a kprobe is a `probe`, fentry is
 * `tracing`) and libbpf's (bpfman in Go). Whether a label's type can mean what the object's section says.
 */
export function programTypesAgree(labelled: string, found: string): boolean {
  return labelled === found || (kernelFamilies.get(labelled)?.includes(found) ?? false);
}

const kernelFamilies: ReadonlyMap<string, readonly string[]> = new Map([
  ["probe", ["kprobe", "kretprobe", "ksyscall", "kretsyscall", "uprobe", "uretprobe", "usdt"]],
  ["kprobe", ["kretprobe", "ksyscall", "kretsyscall", "uprobe", "uretprobe", "usdt"]],
  ["tracing", ["fentry", "fexit", "fmod_ret", "iter", "raw_tracepoint"]],
  ["tc", ["tcx", "sched_cls", "sched_act"]],
  ["tcx", ["tc"]],
  ["fexit", ["fentry"]],
  ["fentry", ["fexit"]],
]);
