import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter } from "node:path";
import { createInterface } from "node:readline";
import { type Ended, ended, mainProgram, run, TemporaryDirectory } from "../reliability/processes.js";
import {
  bpfmanLabels,
  bytecodeImage,
  imageIndex,
  minimalBpfElf,
  type TestRoot,
} from "../support/image-builder.js";

if (!existsSync(mainProgram)) throw new Error("build first: npm run build");

/** A user with a cache, a home without credentials, and no proxy between them and the registry. */
export class User {
  readonly #home = new TemporaryDirectory();
  readonly cache = this.#home.join("cache");
  readonly #variables: NodeJS.ProcessEnv;

  /** With some variables of their own. */
  constructor(variables: NodeJS.ProcessEnv = {}) {
    this.#variables = variables;
  }

  /** Runs `bpfcache ARGS` to its end. */
  bpfcache(args: readonly string[], options: { readonly input?: string } = {}): Promise<Ended> {
    return run(process.execPath, [mainProgram, ...args], { env: this.environment, ...options });
  }

  /** Runs `bpfcache ARGS` and leaves it running. */
  start(args: readonly string[]): Running {
    return new Running(spawn(process.execPath, [mainProgram, ...args], { env: this.environment }));
  }

  /** Runs a shell command in which `bpfcache` is the built program. */
  shell(command: string): Promise<Ended> {
    return run("bash", ["-c", `bpfcache() { "$NODE" "$MAIN" "$@"; }; ${command}`], { env: this.environment });
  }

  /** Runs `bpfcache ARGS` on a terminal 80 columns wide (util-linux's script); stdout is what the terminal got. */
  onTerminal(args: readonly string[]): Promise<Ended> {
    const quoted = [process.execPath, mainProgram, ...args].map((word) => `'${word}'`).join(" ");
    const command = `stty cols 80 rows 24; exec ${quoted}`;
    return run("script", ["-qec", command, "/dev/null"], { env: this.environment });
  }

  /** A file or directory of this user's. */
  path(name: string): string {
    return this.#home.join(name);
  }

  get environment(): NodeJS.ProcessEnv {
    return {
      PATH: process.env["PATH"] ?? ["/usr/bin", "/bin"].join(delimiter),
      HOME: this.#home.path,
      TERM: "xterm",
      BPFCACHE_DIR: this.cache,
      NODE: process.execPath,
      MAIN: mainProgram,
      ...this.#variables,
    };
  }

  [Symbol.dispose](): void {
    this.#home[Symbol.dispose]();
  }
}

/** A program under way, whose lines can be waited for. */
export class Running {
  readonly ended: Promise<Ended>;
  readonly #child: ChildProcess;

  constructor(child: ChildProcess) {
    this.#child = child;
    this.ended = ended(child);
  }

  /** The first line of a stream that matches; an error when the stream ends without one. */
  async line(stream: "stdout" | "stderr", pattern: RegExp): Promise<RegExpMatchArray> {
    const input = this.#child[stream];
    if (input === null) throw new Error(`${stream} is not piped`);
    const lines = createInterface({ input });
    return new Promise((resolve, reject) => {
      const said: string[] = [];
      lines.on("line", (line) => {
        said.push(line);
        const match = pattern.exec(line);
        if (match !== null) resolve(match);
      });
      lines.on("close", () => reject(new Error(`${stream} ended without ${pattern}:\n${said.join("\n")}`)));
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}

/** The one document on a stream; an error when there is anything else. */
// biome-ignore lint/suspicious/noExplicitAny: what a command printed may have any shape
export function json(text: string): any {
  return JSON.parse(text);
}

/** The last line, parsed: the error that --json puts after progress. */
export function lastLine(text: string): { error?: { code: string; message: string } } {
  return JSON.parse(text.trimEnd().split("\n").at(-1) ?? "");
}

/** For amd64 and arm64, with a program, a map and a global: something for every column. */
export function sampleImage(program = "count_packets"): TestRoot {
  const bytes = minimalBpfElf({
    programs: [{ name: program, section: "xdp" }],
    maps: [{ name: "packets", type: 6 }],
    sections: [{ name: ".rodata", bytes: Buffer.alloc(8), symbols: ["limit"] }],
  });
  const objects = [{ path: `${program}.o`, bytes }];
  const labels = bpfmanLabels({ [program]: "xdp" }, { packets: "per_cpu_array" });
  return imageIndex([
    { image: bytecodeImage({ objects, labels, platform: "linux/amd64" }) },
    { image: bytecodeImage({ objects, labels, platform: "linux/arm64" }) },
  ]);
}
