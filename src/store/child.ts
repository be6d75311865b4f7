import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { text } from "node:stream/consumers";
import { BpfcacheError } from "../core/errors.js";
import { programFile } from "../core/program-file.js";

export interface ChildEnd {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly isTimedOut: boolean;
  /** What it printed, however it ended. */
  readonly stdout: string;
}

/** With this status a child says that what it read is damaged. */
const damagedStatus = 20;

/** How a process ends that trusts damaged pages. */
const crashes: ReadonlySet<string | null> = new Set([
  "SIGSEGV",
  "SIGBUS",
  "SIGABRT",
  "SIGILL",
  "SIGFPE",
  "SIGTRAP",
]);

/** How much the rows of all references may come to. */
const longestOutput = 512 * 1024 * 1024;

/**
 * Runs one of this folder's programs on an environment that may be damaged, to its end: damage kills a process
 * that touches it, and then it is not this one.
 */
export function runChild(program: string, args: readonly string[], timeoutMs: number): ChildEnd {
  const { status, signal, stdout, error } = spawnSync(
    process.execPath,
    [programFile(`store/${program}`), ...args],
    {
      stdio: ["ignore", "pipe", "ignore"],
      encoding: "utf8",
      maxBuffer: longestOutput,
      timeout: timeoutMs,
      killSignal: "SIGKILL",
    },
  );
  const isTimedOut = error !== undefined && "code" in error && error.code === "ETIMEDOUT";
  if (error !== undefined && !isTimedOut) throw notStarted(error);
  return { status, signal, isTimedOut, stdout };
}

/** The same, while this process goes on. */
export async function startChild(program: string, args: readonly string[]): Promise<ChildEnd> {
  const child = spawn(process.execPath, [programFile(`store/${program}`), ...args], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  const closed = once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>;
  try {
    const [stdout, [status, signal]] = await Promise.all([text(child.stdout), closed]);
    return { status, signal, isTimedOut: false, stdout };
  } catch (error) {
    throw notStarted(error);
  }
}

function notStarted(cause: unknown): BpfcacheError {
  return new BpfcacheError("INTERNAL", `cannot run ${process.execPath}: ${cause}`, { cause });
}

/**
 * Why the end shows that the data is damaged; undefined when it does not. A child that was killed, by the kernel for
 * want of memory say, has shown nothing.
 */
export function faultShownBy({ status, signal, isTimedOut, stdout }: ChildEnd): string | undefined {
  if (isTimedOut) return "reading it does not end";
  if (crashes.has(signal)) return `reading it ends with ${signal}`;
  return status === damagedStatus ? `reading it fails: ${stdout.trim()}` : undefined;
}

/** The failure of a child that has shown nothing. */
export function unexplained(what: string, { status, signal }: ChildEnd): BpfcacheError {
  if (signal === "SIGINT" || signal === "SIGTERM")
    return new BpfcacheError("INTERRUPTED", `interrupted while ${what}`);
  return new BpfcacheError("INTERNAL", `${what} ended with ${signal ?? `status ${status}`}`);
}
