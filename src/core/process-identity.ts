import { readFileSync, readlinkSync } from "node:fs";

/** A process as others can tell it from every later one with the same number, on this boot or another. */
export interface ProcessIdentity {
  readonly pid: number;
  /** Clock ticks from boot to its start (proc(5), `/proc/pid/stat`, field 22); empty where there is no /proc. */
  readonly startTime: string;
  /** Empty where the system has none. */
  readonly bootId: string;
  /** The pid namespace that `pid` means something in; empty where there are none. */
  readonly pidNamespace: string;
}

/** `unknown`: it is in another pid namespace of this boot, where its number means nothing here, or is hidden from this user. */
export type Liveness = "alive" | "dead" | "unknown";

let own: ProcessIdentity | undefined;

export function thisProcess(): ProcessIdentity {
  own ??= {
    pid: process.pid,
    startTime: startTimeOf(process.pid) ?? "",
    bootId: bootId(),
    pidNamespace: pidNamespace(),
  };
  return own;
}

export function livenessOf(identity: ProcessIdentity): Liveness {
  const { pid, startTime } = identity;
  if (identity.bootId !== thisProcess().bootId) return "dead";
  if (identity.pidNamespace !== thisProcess().pidNamespace) return "unknown";
  const started = startTimeOf(pid);
  if (startTime !== "" && started !== undefined) return started === startTime ? "alive" : "dead";
  if (!isRunning(pid)) return "dead";
  return startTime === "" ? "alive" : "unknown"; // Of another user, where /proc hides those (proc(5), hidepid).
}

/** The id that the kernel draws at every boot; empty where there is none. */
function bootId(): string {
  return readOrNothing("/proc/sys/kernel/random/boot_id").trim();
}

/** Empty for a zombie, which holds nothing any more; undefined for what cannot be seen. */
function startTimeOf(pid: number): string | undefined {
  const stat = readOrNothing(`/proc/${pid}/stat`);
  if (stat === "") return undefined;
  // The second field is the program's name in brackets and may hold anything, brackets and spaces too.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state] = fields;
  return state === "Z" || state === "X" ? "" : fields[19];
}

function pidNamespace(): string {
  try {
    return readlinkSync("/proc/self/ns/pid");
  } catch {
    return "";
  }
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error instanceof Error && "code" in error && error.code === "EPERM";
  }
}

function readOrNothing(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
