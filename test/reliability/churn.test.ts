import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import { openReader } from "../../src/reader.js";
import { bytecodeImage, minimalBpfElf, type TestImage, writeLayout } from "../support/image-builder.js";
import { checkClosure } from "./check-closure.js";
import { randomFrom, TemporaryDirectory } from "./processes.js";

const platform = "linux/amd64";
const sizes = [0, 500, 3_000, 20_000, 150_000];
const seed = Number(process.env["BPFCACHE_TEST_SEED"] ?? Date.now() % 2 ** 32);

describe("a cache that images come to and go from", () => {
  let layouts: TemporaryDirectory;

  beforeAll(() => {
    layouts = new TemporaryDirectory();
    for (const [index, size] of sizes.entries())
      writeLayout(layouts.join(String(index)), [{ name: referenceOf(index), root: imageOf(index, size) }]);
  });

  afterAll(() => layouts[Symbol.dispose]());

  // The file may be shorter than the header's last page: pages that were freed in the transaction that took them are
  // never written. A check that takes this for damage locks users out of a healthy cache.
  it.each(sizes.map((size, index) => [size, index]))(
    "opens again after its only image, of %i bytes more than the least, was removed",
    async (_, index) => {
      using directory = new TemporaryDirectory();
      await change(directory.path, (cache) => cache.seed([layouts.join(String(index))]));
      await change(directory.path, async (cache) => cache.remove(referenceOf(index)));
      using reader = openReader({ directory: directory.path });
      expect(reader.list()).toEqual([]);
    },
  );

  it("opens after every one of 200 random changes, with all it needs and nothing else", async () => {
    using directory = new TemporaryDirectory();
    const random = randomFrom(seed);
    const held = new Set<string>();
    const complaints: string[] = [];
    for (let step = 1; step <= 200; step++) {
      const index = Math.floor(random() * sizes.length);
      const reference = referenceOf(index);
      try {
        await change(directory.path, async (cache) => {
          if (held.delete(reference)) {
            cache.remove(reference);
            return;
          }
          held.add(reference);
          await cache.seed([layouts.join(String(index))]);
        });
        complaints.push(...checkClosure(directory.path).map((fault) => `step ${step}: ${fault}`));
        using reader = openReader({ directory: directory.path });
        expect(reader.list().map((image) => image.reference)).toEqual([...held].sort());
      } catch (error) {
        complaints.push(`seed ${seed}, step ${step}: ${error}`);
        break;
      }
    }
    expect(complaints).toEqual([]);
  });

  async function change(
    directory: string,
    action: (cache: Awaited<ReturnType<typeof openCache>>) => Promise<unknown>,
  ): Promise<void> {
    await using cache = await openCache({ directory, platform });
    await action(cache);
  }
});

function referenceOf(index: number): string {
  return `registry.example/churn/image-${index}:v1`;
}

function imageOf(index: number, size: number): TestImage {
  // Random bytes, so that layers are as large as objects.
  const random = randomFrom(index);
  const filling = Buffer.from(Array.from({ length: size }, () => random() * 256));
  const bytes = minimalBpfElf({ sections: [{ name: ".rodata", bytes: filling }] });
  return bytecodeImage({ objects: [{ path: `${index}.o`, bytes }] });
}
