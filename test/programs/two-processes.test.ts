import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, it } from "vitest";
import { quantile } from "../reliability/figures.js";
import { times } from "../reliability/soak.js";
import { countingObject } from "./objects.js";
import { idsNamed, noKernel, ProgramSite, uniqueName } from "./support.js";

const rounds = times(20, 200);
const worker = fileURLToPath(new URL("fixtures/load-rounds.js", import.meta.url));
/** The longest that a load or an unload may wait for anything but the kernel and the processor. */
const boundMs = 100;

describe.skipIf(noKernel)(`two processes that load and unload at once${noKernel ?? ""}`, () => {
  // In memory: how long a disk takes is no matter of two processes.
  const site = new ProgramSite("/dev/shm");
  afterAll(() => site[Symbol.asyncDispose](), 60_000);

  it(`lose nothing and do not wait for each other, ${rounds} rounds each`, {
    timeout: times(120_000, 900_000),
    retry: 2,
  }, async () => {
    const name = uniqueName("rounds");
    const cache = await site.open();
    const reference = await site.seed(cache, name, countingObject(name));
    const outcomes = await Promise.all([load(reference), load(reference)]);
    const waits = outcomes.flatMap((outcome) => outcome.waits);
    console.info(summary(waits));
    expect(outcomes.flatMap(({ faults }) => faults)).toEqual([]);
    expect(waits).toHaveLength(4 * rounds);
    expect(Math.max(...waits)).toBeLessThan(boundMs);
    expect((await cache.programs.list()).programs).toEqual([]);
    expect(idsNamed(name)).toEqual([]);
    expect((await cache.scrub()).damaged).toEqual([]);
  });

  async function load(reference: string): Promise<{ waits: number[]; faults: unknown[] }> {
    const child = fork(worker, [site.directory, reference, String(rounds)], { stdio: "inherit" });
    const [[outcome]] = await Promise.all([once(child, "message"), once(child, "exit")]);
    return outcome;
  }
});

function summary(waits: readonly number[]): string {
  const figures = [0.5, 0.9, 0.99, 1].map((part) => quantile(waits, part).toFixed(1));
  return `${waits.length} loads and unloads; waits of p50, p90, p99 and at most ${figures.join(", ")} ms`;
}
