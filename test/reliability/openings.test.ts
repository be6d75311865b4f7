import { availableParallelism } from "node:os";
import { expect, it } from "vitest";
import { Environment } from "../../src/store/environment.js";
import { report } from "./figures.js";
import { fixture, run, TemporaryDirectory } from "./processes.js";
import { times } from "./soak.js";

const milliseconds = String(times(5_000, 120_000));
/** More than the machine has processors: a process must lose its one in the middle of an opening. */
const processes = 2 * availableParallelism();

it("opening the database while others write takes none of their commits back", {
  timeout: 60_000 + 2 * Number(milliseconds),
}, async () => {
  using directory = new TemporaryDirectory();
  const path = directory.join("cache");
  Environment.open({ directory: path }).close();
  const countOf = async (program: string, ...args: string[]): Promise<number> => {
    const { stdout, stderr } = await run(process.execPath, [fixture(program), path, ...args, milliseconds]);
    expect(stdout + stderr).toMatch(/^\d+\n$/);
    return Number(stdout);
  };
  const numbers = Array.from({ length: processes }, (_, index) => index);
  const [commits, openings] = await Promise.all([
    Promise.all(numbers.map((number) => countOf("counting-writer.js", `writer-${number}`))),
    Promise.all(numbers.map(() => countOf("opener.js"))),
  ]);
  const sum = (counts: readonly number[]): number => counts.reduce((total, count) => total + count, 0);
  report("12 openings beside writers", `${sum(openings)} openings, ${sum(commits)} commits, none taken back`);
});
