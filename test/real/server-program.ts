import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";

export interface ServerCommand extends Pick<SpawnOptions, "env"> {
  readonly command: string;
  readonly args: readonly string[];
  /** The line of its log that says that it takes connections. */
  readonly ready: RegExp;
}

/** A directory for a server's configuration and storage, removed together with the server. */
export function serverDirectory(name: string): string {
  return mkdtempSync(join(tmpdir(), `bpfcache-${name}-`));
}

/** A server program that somebody else wrote, run for a test. Its log is read to the end: a full pipe would stop it. */
export class ServerProgram implements AsyncDisposable {
  readonly #log: string[] = [];
  readonly #listeners = new Set<() => void>();
  /** Fulfilled when it is over, whether it ran or could not be run. */
  readonly #ended: Promise<void>;

  private constructor(
    readonly process: ChildProcess,
    readonly directory: string,
  ) {
    this.#ended = once(process, "close").then(
      () => undefined,
      (error) => void this.#log.push(String(error)),
    );
    for (const stream of [process.stdout, process.stderr]) {
      createInterface(stream as Readable).on("line", (line) => {
        this.#log.push(line);
        for (const listener of this.#listeners) listener();
      });
    }
  }

  /** Returns when the server is ready, with the match of its ready line. */
  static async start(
    { command, args, ready, env }: ServerCommand,
    directory: string,
  ): Promise<{ readonly program: ServerProgram; readonly ready: RegExpMatchArray }> {
    const child = spawn(command, args, { env, stdio: ["ignore", "pipe", "pipe"] });
    const program = new ServerProgram(child, directory);
    try {
      return { program, ready: await program.logged(ready) };
    } catch (error) {
      await program[Symbol.asyncDispose]();
      throw error;
    }
  }

  get log(): readonly string[] {
    return this.#log;
  }

  /** The first line that matches, once it is there; an error when the server ends without it. */
  async logged(pattern: RegExp): Promise<RegExpMatchArray> {
    let look = (): void => {};
    const found = new Promise<RegExpMatchArray>((resolve) => {
      look = () => {
        const match = this.#log.map((line) => pattern.exec(line)).find((result) => result !== null);
        if (match !== undefined) resolve(match);
      };
      this.#listeners.add(look);
      look();
    });
    const ended = this.#ended.then(() => {
      throw new Error(`${this.process.spawnfile} ended without ${pattern}:\n${this.#log.join("\n")}`);
    });
    try {
      return await Promise.race([found, ended]);
    } finally {
      this.#listeners.delete(look);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill("SIGKILL");
    await this.#ended;
    rmSync(this.directory, { recursive: true, force: true });
  }
}
