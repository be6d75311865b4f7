import { afterAll, describe, expect, it } from "vitest";
import { report } from "../figures.js";
import { TemporaryDirectory } from "../processes.js";
import { seed, times } from "../soak.js";
import { ModelRun } from "./model-run.js";

const steps = times(1_000, 10_000);

describe("a cache and a model of it", () => {
  let run: ModelRun | undefined;

  afterAll(() => report("9 model", `seed ${seed}: ${run?.steps} steps; ${run?.tally}`));

  it(
    `are the same after each of ${steps} random steps`,
    async () => {
      using directory = new TemporaryDirectory();
      run = await ModelRun.start(directory.path, seed);
      try {
        while (run.steps < steps) await run.step();
      } catch (error) {
        const history = run.history.join("\n");
        throw new Error(`seed ${seed} (BPFCACHE_TEST_SEED), step ${run.steps}: ${error}\n${history}`);
      } finally {
        await run.close();
      }
      // All of them were reached, and by more than chance would leave out.
      for (const name of run.kinds) expect(run.counts.get(name), name).toBeGreaterThan(steps / 200);
    },
    times(240_000, 7_200_000),
  );
});
