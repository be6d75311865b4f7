import { createRequire } from "node:module";
import { BpfcacheError } from "../../core/errors.js";
import { programFile } from "../../core/program-file.js";
import { runProgram } from "../../core/run-program.js";
import type { Bpftool } from "../bpftool.js";
import type { KernelProgram } from "../kernel-program.js";
import { loadRefused, toolFailed } from "../load-failure.js";
import type { Loader, LoadPlan } from "../loader.js";

const program = programFile("programs/libbpf/load-object.js");

/** libbpf 1.x by way of koffi, in a child process. Unlike bpftool it loads no program but those that are asked for. */
export class Libbpf implements Loader {
  readonly #bpftool: Bpftool;
  readonly #timeoutMs: number;

  /** bpftool tells what the kernel has made of it. */
  constructor(bpftool: Bpftool, timeoutMs: number) {
    this.#bpftool = bpftool;
    this.#timeoutMs = timeoutMs;
  }

  /** Throws TOOL_FAILED, with the verifier's log when that is why. */
  async load(
    plan: LoadPlan,
    prepare: () => void,
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, KernelProgram>> {
    requireKoffi();
    const input = JSON.stringify({ ...plan, reusedMaps: [...plan.reusedMaps] });
    const options = { timeoutMs: this.#timeoutMs, input, beforeInput: prepare, signal };
    const end = await runProgram(process.execPath, [program], options);
    if (end.isTimedOut) throw toolFailed("libbpf", `it did not end within ${this.#timeoutMs / 1_000} s`);
    if (/cannot open shared object file/i.test(end.stderr)) throw noLibrary();
    if (end.status !== 0) throw loadRefused("libbpf", end.stderr);
    const pins = plan.programs.map((name) => `${plan.programDirectory}/${name}`);
    const kernel = await this.#bpftool.pinned(pins, signal);
    return new Map(
      plan.programs.flatMap((name, i) => (kernel[i] === undefined ? [] : [[name, kernel[i]] as const])),
    );
  }
}

function requireKoffi(): void {
  try {
    createRequire(import.meta.url).resolve("koffi");
  } catch (cause) {
    throw new BpfcacheError("TOOL_FAILED", "the package koffi, which calls libbpf, is not installed", {
      cause,
      hint: "Install it (npm install koffi), or load through bpftool.",
    });
  }
}

function noLibrary(): BpfcacheError {
  return new BpfcacheError("TOOL_FAILED", "libbpf.so.1 is not installed", {
    hint: "Install it (Debian: apt-get install libbpf1), or load through bpftool.",
  });
}
