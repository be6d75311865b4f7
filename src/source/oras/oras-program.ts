import { BpfcacheError } from "../../core/errors.js";
import { runProgram } from "../../core/run-program.js";
import { failureOf, toolFailed } from "./oras-failure.js";

export interface OrasProgramOptions {
  /** How long one run may take before it is ended. */
  readonly timeoutMs: number;
  readonly environment?: NodeJS.ProcessEnv | undefined;
}

/** The oldest with `cp --from-oci-layout` and everything else that is used of it. */
const oldest = [1, 0, 0] as const;

/** The `oras` program (https://oras.land) of PATH, with its own credentials. */
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
    const timeoutMs = this.#timeoutMs;
    const options = { timeoutMs, environment: this.#environment, signal };
    const end = await runProgram("oras", args, options).catch((error: unknown) => {
      throw notStarted(error);
    });
    if (end.isTimedOut) throw toolFailed(`it did not end within ${timeoutMs / 1_000} s`, end.stderr);
    if (end.status !== 0) throw failureOf(end.status, end.stderr);
    return end.stdout;
  }
}

function notStarted(error: unknown): unknown {
  if (error instanceof BpfcacheError || !(error instanceof Error)) return error;
  const isMissing = "code" in error && error.code === "ENOENT";
  const reason = isMissing ? "there is no such program in PATH" : `it cannot be run: ${error.message}`;
  return new BpfcacheError("TOOL_FAILED", `oras failed: ${reason}`, {
    cause: error,
    hint: "Install oras (https://oras.land), or leave out --via oras.",
  });
}
