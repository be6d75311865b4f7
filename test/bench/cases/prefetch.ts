import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import {
  atLeast,
  atMost,
  type BenchCase,
  type BenchContext,
  type Goal,
  type Table,
} from "../harness/bench-case.js";
import { runProgram } from "../harness/children.js";
import { type Contestant, contest, resultOf } from "../harness/contest.js";
import { median, ratio, type Samples } from "../harness/samples.js";
import { makeImages, type NamedImage, putIntoStorage } from "../site/images.js";
import { Site } from "../site/site.js";
import { TakeWorker } from "../workers/workers.js";

const roundTripMs = 20;
const atATime = 16;
const ours = "bpfcache prefetch";

export const prefetchCase: BenchCase = {
  name: "prefetch",
  title: "prefetching many images, and asking again about them",
  async run(context) {
    const count = context.isQuick ? 60 : 500;
    await using site = await Site.start({ isSecure: true, hasTokens: true });
    const images = makeImages({ count, distinctObjects: count / 5, repositories: 10, objectBytes: 24_000 });
    putIntoStorage(site.storage, images);
    await site.setRoundTrip(roundTripMs);
    const options = { rounds: context.isQuick ? 1 : 3, counter: site, cpu: true };

    context.log(`${count} images, cold`);
    const cold = await contest(contestantsOf(context, site, images, true), options);
    context.log("again, unchanged");
    const again = await contest(contestantsOf(context, site, images, false), options);
    const title = `${count} images, ${count / 5} distinct objects, 10 repositories, ${roundTripMs} ms, TLS, Bearer`;
    const tables: Table[] = [
      { title, unit: "ms", rows: [...cold.values()] },
      { title: "the same again, unchanged", unit: "ms", rows: [...again.values()] },
    ];
    return {
      tables,
      goals: [...goalsOf(cold, "cold"), ...goalsOf(again, "unchanged"), requestsEach(again, count)],
      notes: [
        `Each takes all images: bpfcache in one library call, at its default of 16 at a time; regsync with ${atATime} in parallel; oras and crane ` +
          `as a process for each image, ${atATime} at a time under xargs, with nothing but the image left to do; skopeo sync, ` +
          "which knows no parallelism, once. Unchanged images are asked about under the policy Always; the others are " +
          "given the directory that they filled before, but skopeo sync, which refuses to, and crane, which keeps nothing, take all again.",
      ],
    };
  },
};

function goalsOf(results: ReadonlyMap<string, Samples>, what: string): Goal[] {
  const own = resultOf(results, ours);
  const others = [...results.values()].filter(({ name }) => name !== ours);
  const best = bestOf(others, ({ values }) => values);
  const thriftiest = bestOf(others, ({ requests = [] }) => requests);
  if (best === undefined || thriftiest === undefined) return [];
  const share = median(own.requests ?? []) / median(best.requests ?? []);
  const shareOfLeast = median(own.requests ?? []) / median(thriftiest.requests ?? []);
  return [
    atLeast(`${what}: times as fast as ${best.name}`, 5, ratio(best, own)),
    ...(what === "cold"
      ? [
          atMost(`${what}: requests, as a share of those of ${best.name}`, 0.4, share),
          atMost(`${what}: the same of ${thriftiest.name}, which needs the fewest`, 0.4, shareOfLeast),
        ]
      : []),
  ];
}

function requestsEach(results: ReadonlyMap<string, Samples>, images: number): Goal {
  const tokens = 1;
  const requests = median(resultOf(results, ours).requests ?? []) - tokens;
  return atMost("unchanged: requests an image, the one token apart", 1, requests / images);
}

function bestOf(
  all: readonly Samples[],
  measure: (samples: Samples) => readonly number[],
): Samples | undefined {
  const [first] = [...all].sort((a, b) => median(measure(a)) - median(measure(b)));
  return first;
}

function contestantsOf(
  { peers, directory, isQuick }: BenchContext,
  site: Site,
  images: readonly NamedImage[],
  isCold: boolean,
): Contestant[] {
  const references = images.map(({ repository, tag }) => `${site.host}/${repository}:${tag}`);
  const env = { ...site.environment, HOME: directory, XDG_RUNTIME_DIR: directory };
  const into = (name: string): string => join(directory, name);
  const clear = (name: string): void => {
    if (isCold) rmSync(into(name), { recursive: true, force: true });
    mkdirSync(into(name), { recursive: true });
  };
  let worker: TakeWorker | undefined;
  const contestants: (Contestant & { readonly program?: string })[] = [
    {
      name: ours,
      async prepare() {
        clear("bpfcache");
        const pullPolicy = isCold ? "IfNotPresent" : "Always";
        worker = await TakeWorker.start({
          directory: into("bpfcache"),
          caFile: site.caFile,
          references,
          pullPolicy,
        });
      },
      run: async () => (await worker?.take())?.milliseconds,
    },
    {
      name: `oras cp, xargs -P${atATime}`,
      program: "oras",
      prepare: () => clear("oras"),
      run: () =>
        runProgram("xargs", [`-P${atATime}`, "-L1", peers.program("oras"), "cp", "--to-oci-layout"], {
          env,
          input: images
            .map(({ tag }, index) => `${references[index]} ${into("oras")}/${index}:${tag}\n`)
            .join(""),
        }),
    },
    {
      name: `crane pull, xargs -P${atATime}`,
      program: "crane",
      prepare: () => clear("crane"),
      run() {
        // Without --cache_path: processes that share one find each other's half-written layers in it, and fail.
        const args = [`-P${atATime}`, "-L1", peers.program("crane"), "pull", "--format=oci"];
        const input = references
          .map((reference, index) => `${reference} ${into("crane")}/${index}\n`)
          .join("");
        return runProgram("xargs", args, { env, input });
      },
    },
    {
      name: "regsync once",
      program: "regsync",
      prepare() {
        clear("regsync");
        const repositories = [...new Set(images.map(({ repository }) => repository))];
        const sync = repositories.map((repository) => ({
          source: `${site.host}/${repository}`,
          target: `ocidir://${into("regsync")}/${repository}`,
          type: "repository",
        }));
        const config = { version: 1, defaults: { parallel: atATime }, sync };
        writeFileSync(into("regsync.yaml"), JSON.stringify(config)); // JSON is YAML.
      },
      run: () => runProgram(peers.program("regsync"), ["once", "--config", into("regsync.yaml")], { env }),
    },
    {
      name: "skopeo sync",
      program: "skopeo",
      ...(isQuick ? {} : { rounds: 1 }),
      prepare() {
        // It overwrites nothing, and so has no way to ask again.
        rmSync(into("skopeo"), { recursive: true, force: true });
        clear("skopeo");
        const repositories = new Set(images.map(({ repository }) => repository));
        const tagsOf = (name: string) =>
          images.flatMap(({ repository, tag }) => (repository === name ? [tag] : []));
        const named = Object.fromEntries([...repositories].map((name) => [name, tagsOf(name)]));
        writeFileSync(into("skopeo.yaml"), JSON.stringify({ [site.host]: { images: named } }));
      },
      run: () =>
        runProgram(
          peers.program("skopeo"),
          ["sync", "--src=yaml", "--dest=dir", into("skopeo.yaml"), into("skopeo")],
          {
            env,
          },
        ),
    },
  ];
  return contestants.filter(({ program }) => program === undefined || peers.has(program));
}
