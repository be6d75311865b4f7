import { rmSync } from "node:fs";
import { join } from "node:path";
import type { BytecodeCache } from "../../../src/cache.js";
import { openCache } from "../../../src/index.js";
import { atLeast, type BenchCase, type BenchContext, type Goal, type Table } from "../harness/bench-case.js";
import { commandLine, runProgram } from "../harness/children.js";
import { type Contestant, contest, resultOf } from "../harness/contest.js";
import { median, ratio, type Samples } from "../harness/samples.js";
import { makeImages, putIntoStorage } from "../site/images.js";
import { Site } from "../site/site.js";

const platform = "linux/amd64";
const judgedAt = 50;

const names = {
  warm: "bpfcache library, in a process that pulls",
  known: "bpfcache library, registry known",
  first: "bpfcache library, first contact",
  process: "bpfcache pull (a process)",
} as const;

export const pullCase: BenchCase = {
  name: "pull",
  title: "a cold pull of one image",
  async run(context) {
    const rounds = context.isQuick ? 3 : 9;
    const tables: Table[] = [];
    const goals: Goal[] = [];
    const kinds = [
      { isSecure: true, roundTrips: context.isQuick ? [judgedAt] : [0, 20, judgedAt] },
      { isSecure: false, roundTrips: context.isQuick ? [] : [judgedAt] },
    ];
    for (const { isSecure, roundTrips } of kinds) {
      if (roundTrips.length === 0) continue;
      await using site = await Site.start({ isSecure, hasTokens: true });
      const images = makeImages({ count: 4, objectBytes: 24_000 });
      putIntoStorage(site.storage, images);
      for (const roundTripMs of roundTrips) {
        await site.setRoundTrip(roundTripMs);
        await using warm = await warmCache(site);
        const contestants = [...ourContestants(context, site, warm), ...peerContestants(context, site)];
        const results = await contest(contestants, { rounds, counter: site, cpu: true });
        const title = `${roundTripMs} ms, ${isSecure ? "TLS" : "plain HTTP"}, Bearer`;
        tables.push({ title, unit: "ms", rows: [...results.values()] });
        if (roundTripMs === judgedAt && isSecure) goals.push(...goalsOf(results));
      }
    }
    return {
      tables,
      goals,
      notes: [
        "The image has one layer of about 8 KB and a config. Each contestant begins without the image. As a library call: in a " +
          "process that has pulled other images from the registry and so has a token and connections; in a new cache " +
          "handle, whose database knows how the registry authenticates; and with an empty cache. The other rows are whole " +
          "processes.",
      ],
    };
  },
};

function goalsOf(results: ReadonlyMap<string, Samples>): Goal[] {
  const ours = new Set<string>(Object.values(names));
  const others = [...results.values()].filter(({ name }) => !ours.has(name));
  const best = others.reduce<Samples | undefined>(
    (found, each) => (found === undefined || median(each.values) < median(found.values) ? each : found),
    undefined,
  );
  if (best === undefined) return [];
  const against = (name: string) => ratio(best, resultOf(results, name));
  return [
    atLeast(`library call, times as fast as ${best.name}`, 2, against(names.warm)),
    atLeast(`library call, registry known, times as fast as ${best.name}`, 2, against(names.known)),
    atLeast(`process, times as fast as ${best.name}`, 1.2, against(names.process)),
  ];
}

const reference = (site: Site, tag = "v0"): string => `${site.host}/bench/repository-0:${tag}`;

async function warmCache(site: Site): Promise<BytecodeCache> {
  const cache = await openCache({ platform, caFile: site.caFile });
  await cache.pull(reference(site, "v1"));
  return cache;
}

function ourContestants(context: BenchContext, site: Site, warm: BytecodeCache): Contestant[] {
  const tls = site.isSecure ? { caFile: site.caFile } : {};
  const known = join(context.directory, "known");
  const processCache = join(context.directory, "process");
  return [
    {
      name: names.warm,
      prepare() {
        if (warm.list({}).some((image) => image.reference === reference(site))) warm.remove(reference(site));
      },
      run: () => warm.pull(reference(site)),
    },
    {
      name: names.known,
      async prepare() {
        rmSync(known, { recursive: true, force: true });
        await using cache = await openCache({ directory: known, platform, ...tls });
        await cache.pull(reference(site, "v1"));
      },
      async run() {
        await using cache = await openCache({ directory: known, platform, ...tls });
        await cache.pull(reference(site));
      },
    },
    {
      name: names.first,
      async run() {
        await using cache = await openCache({ platform, ...tls });
        await cache.pull(reference(site));
      },
    },
    {
      name: names.process,
      prepare: () => rmSync(processCache, { recursive: true, force: true }),
      run: () =>
        runProgram(process.execPath, [
          commandLine,
          "pull",
          reference(site),
          `--cache-dir=${processCache}`,
          `--platform=${platform}`,
          ...(site.isSecure ? [`--ca-file=${site.caFile}`] : []),
        ]),
    },
  ];
}

function peerContestants({ peers, directory }: BenchContext, site: Site): Contestant[] {
  const from = reference(site);
  const out = join(directory, "peer");
  const forms: Readonly<Record<string, { readonly name: string; readonly args: readonly string[] }>> = {
    oras: {
      name: "oras cp",
      args: ["cp", "--to-oci-layout", ...(site.isSecure ? [] : ["--from-plain-http"]), from, `${out}:v0`],
    },
    crane: {
      name: "crane pull",
      args: ["pull", "--format=oci", ...(site.isSecure ? [] : ["--insecure"]), from, out],
    },
    skopeo: {
      name: "skopeo copy",
      args: [
        "copy",
        ...(site.isSecure ? [] : ["--src-tls-verify=false"]),
        `docker://${from}`,
        `oci:${out}:v0`,
      ],
    },
    regctl: {
      name: "regctl image copy",
      args: [
        ...(site.isSecure ? [] : ["--host", `reg=${site.host},tls=disabled`]),
        "image",
        "copy",
        from,
        `ocidir://${out}:v0`,
      ],
    },
  };
  return Object.entries(forms)
    .filter(([program]) => peers.has(program))
    .map(([program, { name, args }]) => ({
      name,
      prepare: () => rmSync(out, { recursive: true, force: true }),
      run: () => runProgram(peers.program(program), args, { env: { ...site.environment, HOME: directory } }),
    }));
}
