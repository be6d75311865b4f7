import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { openCache } from "../../../src/index.js";
import { writeLayout } from "../../support/layout.js";
import { atLeast, type BenchCase, type BenchContext } from "../harness/bench-case.js";
import { commandLine, runProgram } from "../harness/children.js";
import { type Contestant, contest, resultOf } from "../harness/contest.js";
import { ratio } from "../harness/samples.js";
import { makeImages, putIntoStorage } from "../site/images.js";
import { Site } from "../site/site.js";
import { copyEach } from "./seed.js";

const names = {
  process: "bpfcache export --all (a process)",
  skopeo: "skopeo copy, one after another",
  oras: "oras backup",
} as const;

export const exportCase: BenchCase = {
  name: "export",
  title: "writing many images out as a tar",
  async run(context) {
    const { directory, peers } = context;
    const count = context.isQuick ? 100 : 1_000;
    const images = makeImages({ count, objectBytes: 64 * 1_024 });
    const layout = join(directory, "layout");
    writeLayout(
      layout,
      images.map(({ image, tag }) => ({ name: tag, root: image })),
    );
    const cacheDirectory = join(directory, "cache");
    await fill(cacheDirectory, layout);
    await using site = await Site.start({ isSecure: false, hasTokens: false });
    putIntoStorage(site.storage, images);
    const contestants: Contestant[] = [oursFrom(cacheDirectory, context)];
    if (peers.has("skopeo")) {
      const out = join(directory, "skopeo");
      contestants.push({
        name: names.skopeo,
        rounds: 1,
        prepare() {
          rmSync(out, { recursive: true, force: true });
          mkdirSync(out);
        },
        run: () => copyEach(peers.program("skopeo"), layout, out, images),
      });
    }
    if (peers.has("oras")) {
      const out = join(directory, "oras.tar");
      const from = `${site.directHost}/bench/repository-0`;
      contestants.push({
        name: names.oras,
        prepare: () => rmSync(out, { force: true }),
        run: () => runProgram(peers.program("oras"), ["backup", "--plain-http", "--output", out, from]),
      });
    }
    const results = await contest(contestants, { rounds: context.isQuick ? 2 : 5, cpu: true });
    const goals = [names.skopeo, names.oras].flatMap((name) => {
      const theirs = results.get(name);
      return theirs === undefined
        ? []
        : [atLeast(`times as fast as ${name}`, 3, ratio(theirs, resultOf(results, names.process)))];
    });
    return {
      tables: [
        { title: `${count} images with an object of 64 KiB`, unit: "ms", rows: [...results.values()] },
      ],
      goals,
      notes: [
        "bpfcache and oras write a tar; skopeo, which would write one for each image, copies into a layout, and ran once. oras reads from a " +
          "registry on loopback, without delay, for it has no store of its own.",
      ],
    };
  },
};

async function fill(directory: string, layout: string): Promise<void> {
  await using cache = await openCache({ directory, platform: "linux/amd64" });
  const { failed } = await cache.seed([layout], { as: "registry.example/bench/exported" });
  if (failed.length > 0) throw new Error(JSON.stringify(failed[0]));
}

function oursFrom(cacheDirectory: string, { directory }: BenchContext): Contestant {
  const out = join(directory, "bpfcache.tar");
  return {
    name: names.process,
    prepare() {
      rmSync(out, { force: true });
      rmSync(`${out}.lock.json`, { force: true });
    },
    run: () =>
      runProgram(process.execPath, [
        commandLine,
        "export",
        "--all",
        "-o",
        out,
        `--cache-dir=${cacheDirectory}`,
      ]),
  };
}
