import { rmSync } from "node:fs";
import { join } from "node:path";
import { atMost, type BenchCase } from "../harness/bench-case.js";
import { type Contestant, contest, resultOf } from "../harness/contest.js";
import { median, ratio } from "../harness/samples.js";
import { makeImages, putIntoStorage } from "../site/images.js";
import { Site } from "../site/site.js";
import { TakeWorker } from "../workers/workers.js";

const roundTripMs = 20;
const many = 8;

export const processesCase: BenchCase = {
  name: "processes",
  title: "eight processes that want the same images",
  async run(context) {
    const count = context.isQuick ? 50 : 200;
    await using site = await Site.start({ isSecure: true, hasTokens: true });
    const images = makeImages({ count, repositories: 10, objectBytes: 24_000 });
    putIntoStorage(site.storage, images);
    await site.setRoundTrip(roundTripMs);
    const references = images.map(({ repository, tag }) => `${site.host}/${repository}:${tag}`);
    const directory = join(context.directory, "cache");
    const named = (processes: number): string =>
      `bpfcache prefetch, ${processes} process${processes === 1 ? "" : "es"}`;
    const contestants = [1, many].map((processes): Contestant => {
      let workers: TakeWorker[] = [];
      return {
        name: named(processes),
        async prepare() {
          rmSync(directory, { recursive: true, force: true });
          workers = [];
          for (let started = 0; started < processes; started++)
            workers.push(await TakeWorker.start({ directory, caFile: site.caFile, references }));
        },
        async run() {
          const took = await Promise.all(workers.map((worker) => worker.take()));
          return Math.max(...took.map(({ milliseconds }) => milliseconds));
        },
      };
    });
    const results = await contest(contestants, { rounds: context.isQuick ? 2 : 7, counter: site, cpu: true });
    const [alone, together] = [1, many].map((processes) => resultOf(results, named(processes)));
    if (alone === undefined || together === undefined) return { tables: [], goals: [] };
    // Each process that asks anything needs a token, which is never written down for another to find.
    const requests = median(together.requests ?? []) / median(alone.requests ?? []);
    return {
      tables: [
        { title: `${count} images, ${roundTripMs} ms, TLS, Bearer`, unit: "ms", rows: [alone, together] },
      ],
      goals: [
        atMost("until the last has all, times as long as one process", 1.3, ratio(together, alone)),
        atMost("requests, times those of one process", 1.05, requests),
      ],
      notes: ["The processes have been started before; they are given the word at the same moment."],
    };
  },
};
