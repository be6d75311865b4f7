import { createHash } from "node:crypto";
import { join } from "node:path";
import { Store } from "../../../src/store/store.js";
import { atLeast, type BenchCase } from "../harness/bench-case.js";
import { contest, resultOf } from "../harness/contest.js";
import { ratio } from "../harness/samples.js";
import { makeCache, publicationOf } from "../stores/publications.js";

const names = { scrub: "bpfcache scrub", hashing: "sha256 of the same bytes in memory" } as const;

export const scrubCase: BenchCase = {
  name: "scrub",
  title: "checking all that is cached",
  async run(context) {
    const count = context.isQuick ? 200 : 1_000;
    const objectBytes = 256 * 1_024;
    const directory = join(context.directory, "cache");
    await makeCache(directory, count, objectBytes);
    using store = Store.open({ directory });
    const contents = Array.from({ length: count }, (_, index) => {
      const { manifests, config, layers, objects } = publicationOf(index, objectBytes);
      return [...manifests, ...(config === undefined ? [] : [config]), ...layers, ...objects];
    })
      .flat()
      .map(({ bytes }) => bytes);
    const contestants = [
      {
        name: names.scrub,
        async run() {
          const { damaged } = await store.scrub({});
          if (damaged.length > 0) throw new Error(JSON.stringify(damaged[0]));
        },
      },
      {
        name: names.hashing,
        run() {
          for (const bytes of contents) createHash("sha256").update(bytes).digest();
        },
      },
    ];
    for (const { run } of contestants) await run(); // Into the page cache.
    const results = await contest(contestants, { rounds: context.isQuick ? 5 : 11, cpu: true });
    const found = ratio(resultOf(results, names.hashing), resultOf(results, names.scrub));
    return {
      tables: [
        { title: `${count} images with an object of 256 KiB`, unit: "ms", rows: [...results.values()] },
      ],
      goals: [atLeast("as a share of the rate of sha256", 0.8, found)],
    };
  },
};
