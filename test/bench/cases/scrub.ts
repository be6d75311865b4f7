import { createHash } from "node:crypto";
import { join } from "node:path";
import { openCache } from "../../../src/index.js";
import { Store } from "../../../src/store/store.js";
import { writeLayout } from "../../support/layout.js";
import { atLeast, type BenchCase } from "../harness/bench-case.js";
import { contest, resultOf } from "../harness/contest.js";
import { ratio } from "../harness/samples.js";
import { makeImages, objectOf } from "../site/images.js";

const names = { scrub: "bpfcache scrub", hashing: "sha256 of the same bytes in memory" } as const;

export const scrubCase: BenchCase = {
  name: "scrub",
  title: "checking all that is cached",
  async run(context) {
    const count = context.isQuick ? 200 : 1_000;
    const objectBytes = 256 * 1_024;
    const directory = join(context.directory, "cache");
    const layout = join(context.directory, "layout");
    const images = makeImages({ count, objectBytes });
    writeLayout(
      layout,
      images.map(({ image, tag }) => ({ name: tag, root: image })),
    );
    {
      await using cache = await openCache({ directory, platform: "linux/amd64" });
      const { failed } = await cache.seed([layout], { as: "registry.example/bench/scrubbed" });
      if (failed.length > 0) throw new Error(JSON.stringify(failed[0]));
    }
    using store = Store.open({ directory });
    const contents = images.flatMap(({ image }, index) => [
      image.manifest.bytes,
      ...image.blobs.values(),
      objectOf(`program_${index}`, objectBytes),
    ]);
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
