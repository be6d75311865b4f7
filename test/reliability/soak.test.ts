import { statSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { startTestRegistry } from "../support/test-registry.js";
import { quantile, report } from "./figures.js";
import { readInFreshProcess, unsound } from "./judge.js";
import { MovingImages } from "./moving-images.js";
import { Conversation, TemporaryDirectory } from "./processes.js";
import { isSoak, seed, times } from "./soak.js";

const processes = 4;
const imageCount = 24;
const durationMs = times(20_000, 600_000);
const sampleMs = times(500, 2_000);
/** About half of what all images come to: most pulls must evict something. */
const maxBytes = 750_000;
/** Changed pages are written beside the old ones, and those that a reader may see stay: by so much the file may be larger. */
const fileBytes = 4 * maxBytes;
/** A heap that has not been collected for long tells little in a short run. */
const memoryGrowth = isSoak ? 1.1 : 1.5;

interface Sample {
  readonly rss: number;
  readonly steps: number;
  readonly bytes: number;
  readonly content: number;
  readonly complaints: readonly string[];
}

describe(`${processes} processes that use one cache for a long time`, () => {
  it(
    "keep their memory and the file within bounds, and what they read is right",
    async () => {
      await using registry = await startTestRegistry();
      using directory = new TemporaryDirectory();
      const images = new MovingImages(registry, imageCount);
      const file = directory.join("references.json");
      writeFileSync(file, JSON.stringify(images.references));
      const path = directory.join("cache");
      const workers = Array.from(
        { length: processes },
        (_, index) =>
          new Conversation("soak-worker.js", [path, file, String(seed + index), String(maxBytes)]),
      );
      try {
        const sizes: number[] = [];
        const samples: Sample[][] = [];
        const started = Date.now();
        while (Date.now() - started < durationMs) {
          await sleep(sampleMs);
          images.move();
          samples.push(await Promise.all(workers.map((worker) => worker.ask<Sample>({}))));
          sizes.push(statSync(`${path}/data.mdb`).size);
        }
        const last = samples.at(-1) ?? [];
        // The first fifth is warm-up; then the next fifth against the last, by medians.
        const middle = (values: readonly number[], from: number): number => {
          const start = Math.floor(from * values.length);
          return quantile(values.slice(start, start + Math.ceil(values.length / 5)), 0.5);
        };
        const memory = samples.map((sample) => sum(sample.map(({ rss }) => rss)));
        const [memoryBefore, memoryAfter] = [middle(memory, 0.2), middle(memory, 0.8)];
        const content = Math.max(...samples.flat().map(({ content }) => content));
        report(
          "11 soak",
          `seed ${seed}: ${Math.round(durationMs / 1000)} s, ${processes} processes, ${sum(last.map(({ steps }) => steps))} steps, ` +
            `${mebibytes(sum(last.map(({ bytes }) => bytes)))} MiB read; memory ${mebibytes(memoryBefore)} MiB after warm-up, ` +
            `${mebibytes(memoryAfter)} MiB at the end; of a budget of ${mebibytes(maxBytes)} MiB at most ` +
            `${mebibytes(content)} MiB in use, file at most ${mebibytes(Math.max(...sizes))} MiB`,
        );
        expect(last.flatMap(({ complaints }) => complaints)).toEqual([]);
        expect(memoryAfter).toBeLessThan(memoryBefore * memoryGrowth);
        expect(content).toBeLessThanOrEqual(maxBytes);
        expect(Math.max(...sizes)).toBeLessThanOrEqual(fileBytes);
      } finally {
        await Promise.all(workers.map((worker) => worker.end()));
      }
      const contents = await readInFreshProcess(path);
      expect(unsound(path, contents)).toEqual([]);
    },
    durationMs + 120_000,
  );
});

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}

function mebibytes(bytes: number): string {
  return (bytes / 1024 ** 2).toFixed(1);
}
