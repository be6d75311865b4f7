import { createHash } from "node:crypto";
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { writeLayout } from "../../support/layout.js";
import { atLeast, type BenchCase, type BenchContext, type Goal } from "../harness/bench-case.js";
import { commandLine, runProgram } from "../harness/children.js";
import { type Contestant, contest, resultOf } from "../harness/contest.js";
import { ratio } from "../harness/samples.js";
import { makeImages, type NamedImage } from "../site/images.js";
import { Site } from "../site/site.js";
import { TakeWorker } from "../workers/workers.js";

const repository = "registry.example/bench/seeded";

const names = {
  process: "bpfcache seed (a process)",
  library: "bpfcache seed, library call",
  hashing: "sha256 and gunzip alone, one core",
  skopeo: "skopeo copy, one after another",
  oras: "oras restore",
} as const;

export const seedCase: BenchCase = {
  name: "seed",
  title: "taking in a tar of many images",
  async run(context) {
    const count = context.isQuick ? 100 : 1_000;
    const images = makeImages({ count, objectBytes: 64 * 1_024 });
    const layout = join(context.directory, "layout");
    const tar = join(context.directory, "layout.tar");
    writeLayout(
      layout,
      images.map(({ image, tag }) => ({ name: tag, root: image })),
    );
    await runProgram("tar", ["-cf", tar, "-C", layout, "oci-layout", "index.json", "blobs"]);
    await using site = await Site.start({ isSecure: false, hasTokens: false });
    const contestants = [
      ...ourContestants(context, tar),
      { name: names.hashing, run: () => hashAll(images) },
      ...peerContestants(context, site, { layout, tar, images }),
    ];
    const results = await contest(contestants, { rounds: context.isQuick ? 2 : 5, cpu: true });
    const goals: Goal[] = [
      atLeast(
        "library call, as a share of the rate of sha256 and gunzip on one core",
        0.6,
        ratio(resultOf(results, names.hashing), resultOf(results, names.library)),
      ),
    ];
    for (const name of [names.skopeo, names.oras]) {
      const theirs = results.get(name);
      if (theirs === undefined) continue;
      goals.push(
        atLeast(`process, times as fast as ${name}`, 5, ratio(theirs, resultOf(results, names.process))),
      );
    }
    const rows = [...results.values()];
    return {
      tables: [{ title: `${count} images with an object of 64 KiB`, unit: "ms", rows }],
      goals,
      notes: [
        "What bpfcache took in is on the disk when it ends. sha256 and gunzip alone: each layer hashed, inflated, and what came out hashed " +
          "once, from memory, nothing written. skopeo copies from the unpacked layout to another one, as its archives are unpacked for " +
          "each image; oras restores into a registry on loopback, without delay. skopeo ran once.",
      ],
    };
  },
};

function ourContestants({ directory }: BenchContext, tar: string): Contestant[] {
  const processCache = join(directory, "process");
  const libraryCache = join(directory, "library");
  let worker: TakeWorker | undefined;
  return [
    {
      name: names.process,
      prepare: () => rmSync(processCache, { recursive: true, force: true }),
      run() {
        const options = [`--cache-dir=${processCache}`, "--platform=linux/amd64", `--as=${repository}`];
        return runProgram(process.execPath, [commandLine, "seed", tar, ...options]);
      },
    },
    {
      name: names.library,
      async prepare() {
        rmSync(libraryCache, { recursive: true, force: true });
        worker = await TakeWorker.start({
          directory: libraryCache,
          references: [],
          seed: tar,
          as: repository,
        });
      },
      run: async () => (await worker?.take())?.milliseconds,
    },
  ];
}

function hashAll(images: readonly NamedImage[]): void {
  for (const { image } of images) {
    for (const { bytes } of image.layers) {
      createHash("sha256").update(bytes).digest();
      createHash("sha256").update(gunzipSync(bytes)).digest();
    }
  }
}

interface Input {
  readonly layout: string;
  readonly tar: string;
  readonly images: readonly NamedImage[];
}

function peerContestants({ peers, directory }: BenchContext, site: Site, input: Input): Contestant[] {
  const out = join(directory, "skopeo");
  let restored = 0;
  const skopeo: Contestant = {
    name: names.skopeo,
    rounds: 1,
    prepare() {
      rmSync(out, { recursive: true, force: true });
      mkdirSync(out);
    },
    run: () => copyEach(peers.program("skopeo"), input.layout, out, input.images),
  };
  const oras: Contestant = {
    name: names.oras,
    run() {
      // What a repository has is not sent again.
      const target = `${site.directHost}/bench/restored-${restored++}`;
      return runProgram(peers.program("oras"), ["restore", "--plain-http", "--input", input.tar, target]);
    },
  };
  return [...(peers.has("skopeo") ? [skopeo] : []), ...(peers.has("oras") ? [oras] : [])];
}

/** skopeo's way with many images: a process for each. */
export function copyEach(
  skopeo: string,
  from: string,
  to: string,
  images: readonly NamedImage[],
): Promise<void> {
  const input = images.map(({ tag }) => `oci:${from}:${tag} oci:${to}:${tag}\n`).join("");
  return runProgram("xargs", ["-L1", skopeo, "copy", "--quiet"], { input });
}
