import { join } from "node:path";
import { openReader } from "../../../src/index.js";
import { writeLayout } from "../../support/layout.js";
import { atLeast, atMost, type BenchCase, type Goal, type Table } from "../harness/bench-case.js";
import { LineProgram } from "../harness/children.js";
import { type Contestant, contest, resultOf } from "../harness/contest.js";
import { ratio } from "../harness/samples.js";
import { makeImages } from "../site/images.js";
import { makeCache, referenceOf } from "../stores/publications.js";

const comparedAt = 10_000;

export const openCase: BenchCase = {
  name: "open",
  title: "opening a cache and reading one image from it",
  async run(context) {
    const sizes = [10, 1_000, comparedAt, ...(context.isQuick ? [] : [100_000])];
    const contestants: Contestant[] = [];
    for (const images of sizes) {
      context.log(`a cache of ${images} images`);
      const directory = join(context.directory, `cache-${images}`);
      await makeCache(directory, images);
      contestants.push({
        name: ours(images),
        run() {
          using reader = openReader({ directory });
          reader.bytecode(referenceOf(images >> 1), { platform: "linux/amd64" });
        },
      });
    }
    const layoutSizes = [10, 1_000, ...(context.isQuick ? [] : [comparedAt])];
    using program = context.peers.has("oras-layout")
      ? new LineProgram(context.peers.program("oras-layout"), [])
      : undefined;
    for (const images of program === undefined ? [] : layoutSizes) {
      context.log(`a layout of ${images} images`);
      const directory = join(context.directory, `layout-${images}`);
      const made = makeImages({ count: images, distinctObjects: 1, objectBytes: 4_096 });
      writeLayout(
        directory,
        made.map(({ image, tag }) => ({ name: tag, root: image })),
      );
      contestants.push({
        name: theirs(images),
        async run() {
          const [nanoseconds = Number.NaN] = ((await program?.ask(`${directory} v${images >> 1}`)) ?? "")
            .split(" ")
            .map(Number);
          return nanoseconds / 1e6;
        },
      });
    }
    for (const { run } of contestants) await run(); // Into the page cache.
    const results = await contest(contestants, { rounds: context.isQuick ? 9 : 25 });
    const rows = [...results.values()];
    const [least, greatest] = [sizes[0] ?? 0, sizes.at(-1) ?? 0];
    const goals: Goal[] = [
      atMost(
        `${greatest.toLocaleString("en-US")} images, times as long as 10`,
        1.3,
        ratio(resultOf(results, ours(greatest)), resultOf(results, ours(least))),
      ),
    ];
    const layout = results.get(theirs(comparedAt));
    if (layout !== undefined)
      goals.push(
        atLeast(
          "10,000 images, times as fast as a layout",
          50,
          ratio(layout, resultOf(results, ours(comparedAt))),
        ),
      );
    const tables: Table[] = [{ title: "open, read one, close", unit: "ms", rows }];
    return { tables, goals };
  },
};

function ours(images: number): string {
  return `bpfcache, ${images.toLocaleString("en-US")} images`;
}

function theirs(images: number): string {
  return `OCI layout through oras-go, ${images.toLocaleString("en-US")} images`;
}
