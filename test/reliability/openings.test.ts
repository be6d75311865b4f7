import { availableParallelism } from "node:os";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Environment } from "../../src/store/environment.js";
import { report } from "./figures.js";
import { fixture, run, TemporaryDirectory } from "./processes.js";
import { times } from "./soak.js";

const milliseconds = String(times(5_000, 120_000));
/** More than the machine has processors: a process must lose its one in the middle of an opening. */
const processes = 2 * availableParallelism();

const timeout = 60_000 + 2 * Number(milliseconds);

let directory: TemporaryDirectory;
let cache: string;

beforeEach(() => {
  directory = new TemporaryDirectory();
  cache = directory.join("cache");
  Environment.open({ directory: cache }).close();
});

afterEach(() => directory[Symbol.dispose]());

/** What so many of a program count at the same time. */
async function countsOf(program: string, argsOf: (number: number) => string[] = () => []): Promise<number> {
  const counts = Array.from({ length: processes }, async (_, number) => {
    const args = [cache, ...argsOf(number), milliseconds];
    const { stdout, stderr } = await run(process.execPath, [fixture(program), ...args]);
    expect(stdout + stderr).toMatch(/^\d+\n$/);
    return Number(stdout);
  });
  return (await Promise.all(counts)).reduce((total, count) => total + count, 0);
}

it("opening the database while others write takes none of their commits back", { timeout }, async () => {
  const [commits, openings] = await Promise.all([
    countsOf("counting-writer.js", (number) => [`writer-${number}`]),
    countsOf("opener.js"),
  ]);
  report("12 openings beside writers", `${openings} openings, ${commits} commits, none taken back`);
});

it("opening the database while others close it, and nobody else has it open, never fails", {
  timeout,
}, async () => {
  report("12 openings beside closings", `${await countsOf("opener.js")} openings, none failed`);
});
