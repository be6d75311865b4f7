import { existsSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { report } from "../figures.js";
import { readInFreshProcess, unsound } from "../judge.js";
import { randomFrom } from "../processes.js";
import { seed, times } from "../soak.js";
import { Writers } from "../writers.js";
import { Disk, requireDisks } from "./disk.js";

const cuts = times(5, 100);
const writers = 3;

const missing = requireDisks();

describe.skipIf(missing)(`a power cut while ${writers} processes write${missing ?? ""}`, () => {
  const random = randomFrom(seed);
  let done = 0;
  let acknowledged = 0;

  afterAll(() => report("3 power cut", `seed ${seed}: ${done} cuts, ${acknowledged} acknowledgements`));

  it("loses what has not been synced", () => {
    using disk = new Disk("ext4", 64);
    writeFileSync(`${disk.path}/unsynced`, "lost");
    disk.cutPower();
    disk.unmount();
    disk.mount();
    expect(existsSync(`${disk.path}/unsynced`)).toBe(false);
  });

  it(
    "loses nothing that was acknowledged, and leaves nothing half or unreadable",
    async () => {
      await using group = await Writers.start(writers);
      using disk = new Disk("ext4", 64);
      const complaints: string[] = [];
      while (done < cuts && complaints.length === 0) {
        // Outside the namespace this is a path of /proc, and the same directory.
        const directory = `${disk.path}/cache`;
        const indexes = Array.from({ length: writers }, (_, index) => index);
        await Promise.all(
          indexes.map((index) => group.start(index, directory, seed + done * writers + index)),
        );
        await sleep(random() * 1_500);
        disk.cutPower();
        // Writers may have ended by themselves, since they could not write any more.
        await Promise.all(indexes.map((index) => group.kill(index)));
        disk.unmount();
        disk.mount();
        done++;
        const contents = await readInFreshProcess(directory);
        complaints.push(...unsound(directory, contents, "layers"), ...group.contradictions(contents));
      }
      acknowledged = group.acknowledged;
      expect(complaints.map((complaint) => `seed ${seed}, cut ${done}: ${complaint}`)).toEqual([]);
    },
    times(240_000, 7_200_000),
  );
});
