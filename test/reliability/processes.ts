import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { seededRandom } from "./fixtures/random.js";

/** The built command line: what a user's `bpfcache` is. */
export const mainProgram = fileURLToPath(new URL("../../dist/packed/main.js", import.meta.url));

export interface Ended {
  /** null when a signal ended it. */
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** The path of a program in fixtures/: plain JavaScript over the built package, as a user's would be. */
export function fixture(name: string): string {
  return fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));
}

/** Runs a program to its end. */
export async function run(
  command: string,
  args: readonly string[],
  options: SpawnOptions & { readonly input?: string } = {},
): Promise<Ended> {
  const { input, ...rest } = options;
  const child = spawn(command, args, {
    ...rest,
    stdio: [input === undefined ? "ignore" : "pipe", "pipe", "pipe"],
  });
  child.stdin?.end(input);
  return ended(child);
}

/** Waits for a child whose output is piped here. */
export async function ended(child: ChildProcess): Promise<Ended> {
  const [stdout, stderr, [status, signal]] = await Promise.all([
    child.stdout === null ? "" : text(child.stdout),
    child.stderr === null ? "" : text(child.stderr),
    once(child, "close") as Promise<[number | null, NodeJS.Signals | null]>,
  ]);
  return { status, signal, stdout, stderr };
}

/** A forked fixture that answers each message with one message. */
export class Conversation {
  readonly #child: ChildProcess;
  /** How it ended, and what stood on its standard error, when it has ended. */
  readonly #ending: Promise<string>;

  /** `inside` is a program, with its arguments, that runs the fixture as its child. */
  constructor(name: string, args: readonly string[], inside: readonly string[] = []) {
    const [program, ...before] = [...inside, process.execPath, fixture(name)];
    this.#child = spawn(program ?? process.execPath, [...before, ...args], {
      stdio: ["inherit", "inherit", "pipe", "ipc"],
    });
    let stderr = "";
    this.#child.stderr?.setEncoding("utf8").on("data", (text) => {
      stderr += text;
      process.stderr.write(text);
    });
    this.#ending = once(this.#child, "close").then(
      ([status, signal]) => `the process ended with ${signal ?? status}: ${stderr}`,
    );
  }

  /** The next message, or an error with what stood on standard error when the process ends first, or has ended. */
  async next<T>(): Promise<T> {
    const outcome = new AbortController();
    const { signal } = outcome;
    try {
      return await Promise.race([
        once(this.#child, "message", { signal }).then(([message]) => message as T),
        this.#ending.then((ending) => {
          throw new Error(ending);
        }),
      ]);
    } finally {
      outcome.abort();
    }
  }

  ask<T>(question: object): Promise<T> {
    const answer = this.next<T>();
    // To one that has ended nothing can be sent, as `answer` tells.
    this.#child.send(question, () => {});
    return answer;
  }

  async end(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    const exited = once(this.#child, "exit");
    this.#child.kill("SIGKILL");
    await exited;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.end();
  }
}

/** A directory of its own, removed by `using`. */
export class TemporaryDirectory {
  readonly path = mkdtempSync(join(tmpdir(), "bpfcache-test-"));

  join(...parts: readonly string[]): string {
    return join(this.path, ...parts);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** Numbers in [0, 1) that a seed repeats. */
export const randomFrom = seededRandom;
