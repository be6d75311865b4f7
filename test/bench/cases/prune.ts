import { join } from "node:path";
import { Store } from "../../../src/store/store.js";
import { atMost, type BenchCase } from "../harness/bench-case.js";
import { type Contestant, contest, resultOf } from "../harness/contest.js";
import { ratio } from "../harness/samples.js";
import { makeCache } from "../stores/publications.js";

export const pruneCase: BenchCase = {
  name: "prune",
  title: "removing the least recently used images",
  async run(context) {
    const small = 1_000;
    const large = context.isQuick ? 10_000 : 100_000;
    const stores: Store[] = [];
    const contestants: Contestant[] = [];
    for (const images of [small, large]) {
      context.log(`a cache of ${images} images`);
      const directory = join(context.directory, `cache-${images}`);
      await makeCache(directory, images);
      const store = Store.open({ directory });
      stores.push(store);
      contestants.push(pruning(store, images, small / 100));
      if (images === large) contestants.push({ ...pruning(store, images, large / 100), rounds: 3 });
    }
    try {
      const results = await contest(contestants, { rounds: context.isQuick ? 5 : 11 });
      const [atSmall, atLarge] = [small, large].map((images) =>
        resultOf(results, named(images, small / 100)),
      );
      if (atSmall === undefined || atLarge === undefined) return { tables: [], goals: [] };
      const onePercent = resultOf(results, named(large, large / 100));
      const each = (values: readonly number[], removals: number) => values.map((value) => value / removals);
      return {
        tables: [{ title: "prune to a size", unit: "ms", rows: [...results.values()] }],
        goals: [
          atMost(`${small / 100} of ${large}, times as long as of ${small}`, 1.5, ratio(atLarge, atSmall)),
          atMost(
            `an image of ${large / 100} of ${large}, times as long as one of ${small / 100} of ${small}`,
            1.5,
            ratio(
              { ...onePercent, values: each(onePercent.values, large / 100) },
              { ...atSmall, values: each(atSmall.values, small / 100) },
            ),
          ),
        ],
      };
    } finally {
      for (const store of stores) store.close();
    }
  },
};

function named(images: number, removals: number): string {
  return `bpfcache prune, ${removals.toLocaleString("en-US")} of ${images.toLocaleString("en-US")}`;
}

function pruning(store: Store, images: number, removals: number): Contestant {
  let maxBytes = 0;
  return {
    name: named(images, removals),
    prepare() {
      const { bytes, images: there } = store.usage();
      maxBytes = Math.ceil(bytes - (removals - 0.5) * (bytes / there.length));
    },
    async run() {
      const { removed } = await store.prune({ maxBytes });
      if (Math.abs(removed.length - removals) > 1) throw new Error(`${removed.length} images were removed`);
    },
  };
}
