import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { readBpfObject } from "../../../src/image/elf/bpf-object.js";
import { failureOf, type Mutant, mutantsOf, quickestMs } from "./mutants.js";

const objects = fileURLToPath(new URL("../../../examples/bpf/objects/", import.meta.url));

describe.each(["xdp_counter.bpfel.o", "xdp_counter.bpfeb.o"])("mutants of %s", (name) => {
  const original = readFileSync(`${objects}${name}`);

  test("the original is read", () => {
    expect(readBpfObject(original).problems).toEqual([]);
  });

  test("are read or refused as INVALID_IMAGE, each within 100 ms", async () => {
    let refused = 0;
    const slow: Mutant[] = [];
    for (const mutant of mutantsOf(original, 4_000)) {
      const { bytes, seed } = mutant;
      const started = performance.now();
      const failure = failureOf(() => readBpfObject(bytes));
      if (performance.now() - started > 100) slow.push(mutant);
      if (failure === undefined) continue;
      refused++;
      expect(failure, `mutant ${seed}`).toMatchObject({ name: "BpfcacheError", code: "INVALID_IMAGE" });
    }
    for (const { bytes, seed } of slow) {
      const quickest = await quickestMs(() => failureOf(() => readBpfObject(bytes)));
      expect(quickest, `mutant ${seed}`).toBeLessThan(100);
    }
    // Otherwise the mutants would not have reached the tables.
    expect(refused).toBeGreaterThan(400);
    expect(refused).toBeLessThan(4_000);
  });
});
