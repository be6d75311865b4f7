import { type ChildProcessWithoutNullStreams, spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

/** Clock ticks in a second, as /proc counts them on every Linux (proc(5), USER_HZ). */
const ticksPerSecond = 100;

/** Processor time of this process's children that have been waited for, and of theirs. */
export function childProcessorMs(): number {
  const stat = readFileSync("/proc/self/stat", "utf8");
  // proc(5): cutime and cstime are fields 16 and 17; the name, field 2, may hold anything and ends with a bracket.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return ((Number(fields[13]) + Number(fields[14])) / ticksPerSecond) * 1_000;
}

export interface RunOptions {
  readonly env?: Readonly<Record<string, string>>;
  readonly input?: string;
  readonly cwd?: string;
}

/** Runs a program to its end, and throws with what it said when that is a bad one. Its output is thrown away. */
export async function runProgram(
  command: string,
  args: readonly string[],
  { env = {}, input = "", cwd }: RunOptions = {},
): Promise<void> {
  const child = spawn(command, args, {
    env: { ...process.env, ...env },
    stdio: ["pipe", "ignore", "pipe"],
    ...(cwd === undefined ? {} : { cwd }),
  });
  const complaints: Buffer[] = [];
  child.stderr.on("data", (chunk: Buffer) => complaints.push(chunk));
  child.stdin.on("error", () => {}); // One that does not read its input may end before it is written.
  child.stdin.end(input);
  const [status, signal] = (await once(child, "close")) as [number | null, string | null];
  if (status === 0) return;
  const said = Buffer.concat(complaints).toString().slice(-2_000);
  throw new Error(`${command} ${args.slice(0, 8).join(" ")} ended with ${status ?? signal}:\n${said}`);
}

/** A program that answers every line it is given with one line. */
export class LineProgram implements Disposable {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #lines: AsyncIterator<string>;

  constructor(command: string, args: readonly string[]) {
    this.#child = spawn(command, args, { stdio: ["pipe", "pipe", "pipe"] });
    this.#child.stderr.pipe(process.stderr);
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]();
  }

  async ask(line: string): Promise<string> {
    this.#child.stdin.write(`${line}\n`);
    const { value, done } = await this.#lines.next();
    if (done === true) throw new Error(`${this.#child.spawnfile} ended without an answer to ${line}`);
    return value;
  }

  [Symbol.dispose](): void {
    this.#child.stdin.end();
  }
}

/** The repository's root, from the compiled harness in node_modules/.cache/bpfcache-bench/test/bench/harness. */
export const repositoryRoot = fileURLToPath(new URL("../../../../../../", import.meta.url));

/** The built command line. */
export const commandLine = `${repositoryRoot}dist/packed/main.js`;
