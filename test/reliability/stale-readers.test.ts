import { statSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import { Environment } from "../../src/store/environment.js";
import { bytecodeImage, minimalBpfElf, type TestImage, writeLayout } from "../support/image-builder.js";
import { checkClosure } from "./check-closure.js";
import { report } from "./figures.js";
import { Conversation, randomFrom, TemporaryDirectory } from "./processes.js";
import { times } from "./soak.js";

const platform = "linux/amd64";
const objectBytes = 1_000_000;
const liveImages = 4;
/** What goes through the cache: object and layer of every image. */
const churnBytes = times(200_000_000, 2_000_000_000);
const rounds = Math.ceil(churnBytes / (2 * objectBytes * liveImages));
/** A writer process lives for so many rounds, and a reader holds a snapshot as long. */
const roundsPerWriter = 4;

function referenceOf(index: number): string {
  return `registry.example/churn/image-${index}:v1`;
}

/** Random, so that layers are as large as objects. */
function imageOf(seed: number): TestImage {
  const random = randomFrom(seed);
  const words = Uint32Array.from({ length: objectBytes / 4 }, () => random() * 2 ** 32);
  const filling = Buffer.from(words.buffer);
  const bytes = minimalBpfElf({ sections: [{ name: ".rodata", bytes: filling }] });
  return bytecodeImage({ objects: [{ path: "0.o", bytes }] });
}

it("readers that hold a snapshot, or died with one, do not let the file grow without bound", {
  timeout: times(1_200_000, 7_200_000),
}, async () => {
  using directory = new TemporaryDirectory();
  const path = directory.join("cache");
  const fileBytes = (): number => statSync(directory.join("cache", "data.mdb")).size;
  const peaks: number[] = [];
  let killed = 0;
  for (let round = 0; round < rounds; ) {
    await using cache = await openCache({ directory: path, platform });
    let reader: Conversation | undefined;
    for (let i = 0; i < roundsPerWriter && round < rounds; i++, round++) {
      const layout = directory.join("layout");
      const images = Array.from({ length: liveImages }, (_, index) => ({
        name: referenceOf(index),
        root: imageOf(round * liveImages + index),
      }));
      writeLayout(layout, images);
      const { failed } = await cache.seed([layout], { overwrite: true });
      expect(failed).toEqual([]);
      if (reader !== undefined) continue;
      reader = new Conversation("holding-reader.js", [path, referenceOf(0)]);
      expect(await reader.next()).toEqual({ holding: true });
      await setTimeout(50); // Until it is stuck: it can say nothing then.
    }
    await reader?.end();
    killed++;
    peaks.push(fileBytes());
  }

  const environment = Environment.open({ directory: path });
  const live = environment.liveBytes;
  environment.close();
  await using cache = await openCache({ directory: path, platform });
  const compaction = await cache.compact();
  const peak = Math.max(...peaks);
  report(
    "8 stale readers",
    `${rounds} rounds, ${churnBytes} bytes through the cache, ${killed} readers held and killed; ${live} bytes live, ` +
      `file at most ${peak}, ${compaction.fileBytesBefore} before and ${compaction.fileBytesAfter} after compaction`,
  );
  // A writer's rounds behind a held snapshot, and what was free before: the same after a tenth of the churn as at its end.
  expect(peak).toBeLessThan((2 * roundsPerWriter + 2) * live);
  expect(compaction.fileBytesAfter).toBeLessThanOrEqual(2 * live);
  expect(checkClosure(path)).toEqual([]);
});
