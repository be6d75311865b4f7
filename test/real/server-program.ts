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
  readonly #ended: Promise<unknown>;

  private constructor(
    readonly process: ChildProcess,
    readonly directory: string,
  ) {
    this.#ended = once(process, "close").catch(() => undefined);
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
  logged(pattern: RegExp): Promise<RegExpMatchArray> {
    return new Promise((resolve, reject) => {
      const look = (): void => {
        const match = this.#log.map((line) => pattern.exec(line)).find((found) => found !== null);
        if (match === undefined) return;
        this.#listeners.delete(look);
        resolve(match);
      };
      this.#listeners.add(look);
      look();
      const { spawnargs } = this.process;
      this.#ended.then(() => reject(new Error(`${spawnargs[0]} ended:\n${this.#log.join("\n")}`)));
      this.process.once("error", reject);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.process.kill("SIGKILL");
    await this.#ended;
    rmSync(this.directory, { recursive: true, force: true });
  }
}
