import { type ChildProcess, spawn } from "node:child_process";
import { BpfcacheError, throwIfAborted } from "../../core/errors.js";
import { failureOf, toolFailed } from "./oras-failure.js";

export interface OrasProgramOptions {
  /** How long one run may take before it is ended. */
  readonly timeoutMs: number;
  readonly environment?: NodeJS.ProcessEnv | undefined;
}

/** The oldest with `cp --from-oci-layout` and everything else that is used of it. */
const oldest = [1, 0, 0] as const;

const maxOutputBytes = 1024 * 1024;

/** Between asking a process to end and making it. */
const politeMs = 2_000;

/** The `oras` program (https://oras.land) of PATH, run without a shell and with its own credentials. */
export class OrasProgram {
  readonly #timeoutMs: number;
  readonly #environment: NodeJS.ProcessEnv;
  #version: Promise<void> | undefined;

  constructor({ timeoutMs, environment = process.env }: OrasProgramOptions) {
    this.#timeoutMs = timeoutMs;
    this.#environment = environment;
  }

  /**
   * Runs it to its end and returns what it printed. Throws TOOL_FAILED when it is missing, too old, takes too long or
   * ends in a way that nobody knows, NOT_FOUND, UNAUTHORIZED or UNREACHABLE when its own words say that, and
   * INTERRUPTED.
   */
  async run(args: readonly string[], signal?: AbortSignal | undefined): Promise<string> {
    this.#version ??= this.#requireVersion();
    await this.#version;
    return this.#run(args, signal);
  }

  async #requireVersion(): Promise<void> {
    const printed = await this.#run(["version"], undefined);
    const version = /^Version:\s+v?(\d+)\.(\d+)\.(\d+)/m.exec(printed)?.slice(1).map(Number);
    if (version === undefined) throw toolFailed("it does not say its version", printed);
    const differing = oldest.findIndex((part, i) => part !== version[i]);
    if (differing >= 0 && (version[differing] ?? 0) < (oldest[differing] ?? 0)) {
      throw toolFailed(`it is older than ${oldest.join(".")}`, printed);
    }
  }

  async #run(args: readonly string[], signal: AbortSignal | undefined): Promise<string> {
    throwIfAborted(signal);
    // A process group of its own, so that the credential helpers it starts end with it.
    const child = spawn("oras", args, {
      env: this.#environment,
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    const ending = new Ending(child, this.#timeoutMs, signal);
    const stdout = outputOf(child.stdout);
    const stderr = outputOf(child.stderr);
    child.once("exit", () => ending.letGo());
    const status = await new Promise<number | Error>((resolve) => {
      child.once("error", resolve);
      child.once("close", (code) => resolve(code ?? -1));
    });
    ending.stop();
    throwIfAborted(signal);
    if (status instanceof Error) throw notStarted(status);
    if (ending.isTimedOut) throw toolFailed(`it did not end within ${this.#timeoutMs / 1_000} s`, stderr());
    if (status !== 0) throw failureOf(status, stderr());
    return stdout();
  }
}

/** Ends a child, with all it started, when its time is up or nobody wants its result any more. */
class Ending {
  isTimedOut = false;
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
  }

  /** What a credential helper has left running in a group of its own may hold the pipes: it is not waited for long. */
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
  }

  readonly #end = (): void => {
    this.#kill("SIGTERM");
    this.#insist = setTimeout(() => this.#kill("SIGKILL"), politeMs);
  };

  #kill(signal: NodeJS.Signals): void {
    const { pid } = this.#child;
    if (pid === undefined) return;
    try {
      process.kill(-pid, signal);
    } catch {
      // The group has ended by itself.
    }
  }
}

/** Collects a stream's first part; what comes after is read and dropped, so that the child does not wait for us. */
function outputOf(stream: NodeJS.ReadableStream): () => string {
  const chunks: Buffer[] = [];
  let bytes = 0;
  stream.on("data", (chunk: Buffer) => {
    if (bytes < maxOutputBytes) chunks.push(chunk);
    bytes += chunk.length;
  });
  return () => Buffer.concat(chunks).toString().slice(0, maxOutputBytes);
}

function notStarted(error: Error & { code?: unknown }): BpfcacheError {
  const reason =
    error.code === "ENOENT" ? "there is no such program in PATH" : `it cannot be run: ${error.message}`;
  return new BpfcacheError("TOOL_FAILED", `oras failed: ${reason}`, {
    cause: error,
    hint: "Install oras (https://oras.land), or leave out --via oras.",
  });
}
