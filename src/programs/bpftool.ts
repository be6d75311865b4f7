import { BpfcacheError } from "../core/errors.js";
import { type ProgramEnd, quoteOutput, runProgram } from "../core/run-program.js";
import { type KernelLink, kernelLinksOf, type PrintedLink } from "./kernel-link.js";
import { type KernelProgram, kernelProgramOf, type PrintedProgram } from "./kernel-program.js";
import { loadRefused, toolFailed } from "./load-failure.js";
import type { LoadPlan } from "./loader.js";
import { readVerifiedInstructions } from "./verified-instructions.js";

/** What a batch prints of each of its commands. */
interface BatchItem {
  readonly command?: readonly string[];
  readonly output?: unknown;
}

/** bpftool of PATH. One process does many things, as a batch: starting one takes longer than a small load. */
export class Bpftool {
  readonly #timeoutMs: number;

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs;
  }

  /** Loads and pins an object. Throws TOOL_FAILED, with the verifier's log when that is why. */
  async load(plan: LoadPlan, prepare: () => void, signal?: AbortSignal): Promise<Map<string, KernelProgram>> {
    const { path, programDirectory, mapDirectory, reusedMaps } = plan;
    const reused = [...reusedMaps].flatMap(([name, pin]) => ["map", "name", name, "pinned", pin]);
    const load = ["prog", "loadall", path, programDirectory, ...reused, "pinmaps", mapDirectory];
    const pins = plan.programs.map((name) => `${programDirectory}/${name}`);
    const { end, outputs } = await this.#batch([load, ...pins.map(showPinned)], signal, prepare);
    if (isError(outputs[0])) throw loadRefused("bpftool", end.stderr);
    const shown = requireOutputs(outputs.slice(1), pins.length, end);
    return new Map(plan.programs.map((name, i) => [name, this.#described(shown[i], pins[i])]));
  }

  /** Everything in the kernel, whoever loaded it; without `verifiedInstructions`. */
  async programs(signal?: AbortSignal): Promise<KernelProgram[]> {
    const { end, outputs } = await this.#batch([["prog", "show"]], signal);
    const [programs] = requireOutputs(outputs, 1, end) as [readonly PrintedProgram[]];
    return programs.map((program) => kernelProgramOf(program));
  }

  /** All programs, and the links of each by its id. A kernel without links (before 5.7) has none. */
  async programsAndLinks(
    signal?: AbortSignal,
  ): Promise<{ programs: KernelProgram[]; links: ReadonlyMap<number, readonly KernelLink[]> }> {
    const { end, outputs } = await this.#batch(
      [
        ["prog", "show"],
        ["link", "show"],
      ],
      signal,
    );
    const [programs] = requireOutputs(outputs.slice(0, 1), 1, end) as [readonly PrintedProgram[]];
    const links = Array.isArray(outputs[1]) ? (outputs[1] as readonly PrintedLink[]) : [];
    return { programs: programs.map((program) => kernelProgramOf(program)), links: kernelLinksOf(links) };
  }

  /** The programs behind pins. */
  async pinned(pins: readonly string[], signal?: AbortSignal): Promise<KernelProgram[]> {
    const { end, outputs } = await this.#batch(pins.map(showPinned), signal);
    return requireOutputs(outputs, pins.length, end).map((output, i) => this.#described(output, pins[i]));
  }

  #described(output: unknown, pin = ""): KernelProgram {
    return kernelProgramOf(output as PrintedProgram, readVerifiedInstructions(pin));
  }

  async #batch(
    commands: readonly (readonly string[])[],
    signal: AbortSignal | undefined,
    beforeInput?: () => void,
  ): Promise<{ end: ProgramEnd; outputs: unknown[] }> {
    const input = commands.map((words) => `${words.map(quoted).join(" ")}\n`).join("");
    const environment = environmentOfTool();
    const options = { timeoutMs: this.#timeoutMs, environment, input, beforeInput, signal };
    const end = await runProgram("bpftool", ["-j", "batch", "file", "-"], options).catch((error: unknown) => {
      throw notStarted(error);
    });
    if (end.isTimedOut) throw toolFailed("bpftool", `it did not end within ${this.#timeoutMs / 1_000} s`);
    return { end, outputs: outputsOf(end) };
  }
}

function showPinned(pin: string): readonly string[] {
  return ["prog", "show", "pinned", pin];
}

/**
 * What finding and starting it needs, and no more: LIBBPF_LOG_LEVEL would change what is printed, and to copy a long
 * environment takes as long as to parse a small object.
 */
function environmentOfTool(): NodeJS.ProcessEnv {
  const { PATH, LD_LIBRARY_PATH } = process.env;
  return { PATH, LD_LIBRARY_PATH };
}

/** Words of a batch are split at spaces unless they are quoted; there is no escape for a quote. */
function quoted(word: string): string {
  if (!/["\n\r\0]/.test(word)) return `"${word}"`;
  throw new BpfcacheError(
    "USAGE",
    `bpftool takes no path with a quote or a line break: ${JSON.stringify(word)}`,
  );
}

/**
 * The status says nothing: version 7.1 ends a batch that it has read to its end with an error, if any call in it left a
 * number in errno. What each command printed is what counts.
 */
function outputsOf(end: ProgramEnd): unknown[] {
  try {
    return (JSON.parse(end.stdout) as BatchItem[])
      .filter(({ command }) => command !== undefined)
      .map(({ output }) => output);
  } catch (cause) {
    throw toolFailed("bpftool", `it printed ${quoteOutput(end.stdout + end.stderr)}`, cause);
  }
}

function requireOutputs(outputs: readonly unknown[], count: number, end: ProgramEnd): readonly unknown[] {
  if (outputs.length === count && !outputs.some(isError)) return outputs;
  const words = outputs.filter(isError).map(({ error }) => error);
  throw toolFailed("bpftool", quoteOutput([...words, end.stderr].join(" ")));
}

function isError(output: unknown): output is { readonly error: string } {
  return typeof output === "object" && output !== null && "error" in output;
}

function notStarted(error: unknown): unknown {
  if (error instanceof BpfcacheError || !(error instanceof Error)) return error;
  const isMissing = "code" in error && error.code === "ENOENT";
  const reason = isMissing ? "there is no such program in PATH" : `it cannot be run: ${error.message}`;
  return new BpfcacheError("TOOL_FAILED", `bpftool failed: ${reason}`, {
    cause: error,
    hint: "Install bpftool (Debian: apt-get install bpftool).",
  });
}
