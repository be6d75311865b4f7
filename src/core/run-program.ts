import { type ChildProcess, spawn } from "node:child_process";
import type { Readable } from "node:stream";
import { throwIfAborted } from "./errors.js";

export interface RunOptions {
  /** How long it may take before it is ended. */
  readonly timeoutMs: number;
  readonly environment?: NodeJS.ProcessEnv | undefined;
  /** What it reads from standard input. */
  readonly input?: string | Uint8Array | undefined;
  /** Called when it has been started, before it is given any input; when this throws, it gets none and the error is thrown. */
  readonly beforeInput?: (() => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** It is ended when it prints more. Without a bound, what is too much is not kept. */
  readonly maxOutputBytes?: number | undefined;
}

export interface ProgramEnd {
  /** -1 when a signal ended it. */
  readonly status: number;
  readonly isTimedOut: boolean;
  /** Whether it was ended because of all that it printed. */
  readonly isTooLong: boolean;
  readonly stdout: string;
  readonly stderr: string;
}

/** Of what a program prints, so much of the beginning and so much of the end is kept. */
const keptBytes = 1024 * 1024;

/** Between asking a process to end and making it. */
const politeMs = 2_000;

/**
 * Runs a program of PATH to its end, without a shell. Throws INTERRUPTED, and the system's own error when it cannot be
 * started.
 */
export async function runProgram(
  command: string,
  args: readonly string[],
  options: RunOptions,
): Promise<ProgramEnd> {
  const { timeoutMs, environment = process.env, input, beforeInput, signal, maxOutputBytes } = options;
  throwIfAborted(signal);
  // A process group of its own, so that what it starts ends with it.
  const child = spawn(command, args, {
    env: environment,
    stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
    detached: true,
  });
  const ending = new Ending(child, timeoutMs, signal);
  const stdout = outputOf(child.stdout);
  if (maxOutputBytes !== undefined) ending.boundOutput(child.stdout, maxOutputBytes);
  const stderr = outputOf(child.stderr);
  child.once("exit", () => ending.letGo());
  child.stdin?.on("error", () => {}); // It may end without having read all of it; its status tells.
  let refusal: { readonly error: unknown } | undefined;
  try {
    if (child.pid !== undefined) beforeInput?.();
    child.stdin?.end(input);
  } catch (error) {
    refusal = { error };
    child.stdin?.end();
  }
  const status = await new Promise<number | Error>((resolve) => {
    child.once("error", resolve);
    child.once("close", (code) => resolve(code ?? -1));
  });
  ending.stop();
  if (refusal !== undefined) throw refusal.error;
  throwIfAborted(signal);
  if (status instanceof Error) throw status;
  const { isTimedOut, isTooLong } = ending;
  return { status, isTimedOut, isTooLong, stdout: stdout(), stderr: stderr() };
}

/** The end of what a program said, where the reason is, in one line. */
export function quoteOutput(words: string): string {
  const line = words.trim().replace(/\s+/g, " ");
  return line.length <= quotedLength ? line : `…${line.slice(-quotedLength)}`;
}

const quotedLength = 600;

/** What runs now. Whoever does not wait for it leaves nothing behind. */
const running = new Set<Ending>();

function killAll(): void {
  for (const ending of running) ending.kill();
}

/** Ends a child, with all it started, when its time is up or nobody wants its result any more. */
class Ending {
  isTimedOut = false;
  isTooLong = false;
  readonly #child: ChildProcess;
  readonly #signal: AbortSignal | undefined;
  readonly #timeout: NodeJS.Timeout;
  #insist: NodeJS.Timeout | undefined;
  #lettingGo: NodeJS.Timeout | undefined;

  constructor(child: ChildProcess, timeoutMs: number, signal: AbortSignal | undefined) {
    this.#child = child;
    this.#signal = signal;
    this.#timeout = setTimeout(() => {
      this.isTimedOut = true;
      this.#end();
    }, timeoutMs);
    signal?.addEventListener("abort", this.#end, { once: true });
    if (running.size === 0) process.on("exit", killAll);
    running.add(this);
  }

  boundOutput(stream: Readable | null, maxBytes: number): void {
    let bytes = 0;
    stream?.on("data", (chunk: Buffer) => {
      bytes += chunk.length;
      if (bytes <= maxBytes || this.isTooLong) return;
      this.isTooLong = true;
      this.#end();
    });
  }

  /** What it has left running in a group of its own, such as a credential helper, may hold the pipes: it is not waited for long. */
  letGo(): void {
    this.#lettingGo = setTimeout(() => {
      this.#child.stdout?.destroy();
      this.#child.stderr?.destroy();
    }, politeMs);
  }

  stop(): void {
    clearTimeout(this.#timeout);
    clearTimeout(this.#insist);
    clearTimeout(this.#lettingGo);
    this.#signal?.removeEventListener("abort", this.#end);
    running.delete(this);
    if (running.size === 0) process.off("exit", killAll);
  }

  readonly #end = (): void => {
    this.#send("SIGTERM");
    this.#insist = setTimeout(() => this.kill(), politeMs);
  };

  kill(): void {
    this.#send("SIGKILL");
  }

  #send(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // The group has ended by itself.
    }
  }
}

/** Collects a stream's beginning and its end; what is between is read and dropped, so that the child does not wait for us. */
function outputOf(stream: Readable | null): () => string {
  const head: Buffer[] = [];
  const tail: Buffer[] = [];
  let [headBytes, tailBytes] = [0, 0];
  stream?.on("data", (chunk: Buffer) => {
    if (headBytes < keptBytes) {
      head.push(chunk);
      headBytes += chunk.length;
      return;
    }
    tail.push(chunk);
    tailBytes += chunk.length;
    while (tailBytes - (tail[0]?.length ?? 0) >= keptBytes) tailBytes -= tail.shift()?.length ?? 0;
  });
  return () => Buffer.concat([...head, ...tail]).toString();
}
