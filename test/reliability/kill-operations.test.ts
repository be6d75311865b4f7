import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { quantile, report } from "./figures.js";
import type { OperationName } from "./fixtures/operations.js";
import { readInFreshProcess, unsound } from "./judge.js";
import { operationNames, prepareTemplates, RehearsedOperation, type Templates } from "./operation.js";
import { ended, randomFrom, TemporaryDirectory } from "./processes.js";
import { OperationSite } from "./site.js";
import { seed, times } from "./soak.js";
import { Writers } from "./writers.js";

/** With those of kill.test.ts 100 kills, and 1,000 under soak. */
const killsPerOperation = times(2, 32);
const writers = 8;
const rounds = times(3, 56);
/** An open that takes longer than this, on a machine that is not overloaded, waits for something. */
const openBoundMs = 500;

const random = randomFrom(seed);
const openMs: number[] = [];
let kills = 0;
let acknowledged = 0;

afterAll(() => {
  report(
    "1 SIGKILL of any operation",
    `seed ${seed}: ${kills} kills, ${acknowledged} acknowledgements; ${openMs.length} opens, ` +
      `p50 ${quantile(openMs, 0.5).toFixed(1)} ms, p99 ${quantile(openMs, 0.99).toFixed(1)} ms`,
  );
  expect(quantile(openMs, 0.5)).toBeLessThan(openBoundMs);
});

describe("an operation that is killed by SIGKILL", () => {
  const directory = new TemporaryDirectory();
  let site: OperationSite;
  let templates: Templates;

  beforeAll(async () => {
    site = await OperationSite.start();
    templates = await prepareTemplates(directory.path, site);
  });

  afterAll(async () => {
    directory[Symbol.dispose]();
    await site[Symbol.asyncDispose]();
  });

  it.each(operationNames)(
    "leaves the old or the new state: %s",
    async (name) => {
      const operation = await RehearsedOperation.rehearse(name, site, templates);
      const complaints: string[] = [];
      for (let i = 0; i < killsPerOperation; i++) complaints.push(...(await killOnce(operation, name)));
      expect(complaints).toEqual([]);
    },
    times(60_000, 3_600_000),
  );

  /** Half of the kills come while the process starts and opens the cache, or soon after; half while it works. */
  async function killOnce(operation: RehearsedOperation, name: OperationName): Promise<string[]> {
    for (;;) {
      using trial = operation.trial();
      const child = trial.start();
      const outcome = ended(child);
      const opened = name === "create" || random() < 0.3 ? sleep(random() * 250) : heardFrom(child.stdout);
      await opened;
      await sleep(random() * 60);
      child.kill("SIGKILL");
      const { signal, status, stdout, stderr } = await outcome;
      if (signal !== "SIGKILL") {
        if (status !== 0 || !stdout.includes('"failure":null'))
          return [`seed ${seed}, ${name} failed by itself: ${signal ?? status} ${stdout}${stderr}`];
        continue; // It was done before.
      }
      kills++;
      acknowledged += trial.acknowledged.size;
      const judged = await operation.judge(trial);
      openMs.push(...judged.openMs);
      return judged.faults.map((fault) => `seed ${seed}, ${name}: ${fault}`);
    }
  }

  function heardFrom(stream: NodeJS.ReadableStream | null): Promise<unknown> {
    return new Promise((resolve) => stream?.once("data", resolve).once("end", resolve));
  }
});

describe(`${writers} processes that write to one cache, killed one after the other`, () => {
  it(
    "lose nothing that they had acknowledged, and leave nothing half",
    async () => {
      await using group = await Writers.start(writers);
      using directory = new TemporaryDirectory();
      const path = directory.join("cache");
      const complaints: string[] = [];
      for (let round = 1; round <= rounds; round++) {
        const starts = Array.from({ length: writers }, (_, index) =>
          group.start(index, path, seed + round * writers + index),
        );
        await Promise.all(starts);
        for (let index = 0; index < writers; index++) {
          await sleep(random() * 100);
          complaints.push(...(await group.kill(index)));
          kills++;
          // One dies while others write: whoever comes now must get in.
          if (index !== writers / 2) continue;
          const now = await readInFreshProcess(path);
          openMs.push(...now.openMs);
          if (now.complaint !== undefined) complaints.push(`could not get in: ${now.complaint}`);
        }
        const contents = await readInFreshProcess(path);
        openMs.push(...contents.openMs);
        complaints.push(...unsound(path, contents, "layers"), ...group.contradictions(contents));
        if (complaints.length > 0) break;
      }
      acknowledged += group.acknowledged;
      expect(complaints.map((complaint) => `seed ${seed}: ${complaint}`)).toEqual([]);
    },
    times(240_000, 7_200_000),
  );
});
