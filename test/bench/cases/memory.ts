import { rmSync } from "node:fs";
import { join } from "node:path";
import { atMost, type BenchCase } from "../harness/bench-case.js";
import type { Samples } from "../harness/samples.js";
import { median } from "../harness/samples.js";
import { makeImages, putIntoStorage } from "../site/images.js";
import { Site } from "../site/site.js";
import { TakeWorker } from "../workers/workers.js";

export const memoryCase: BenchCase = {
  name: "memory",
  title: "memory while prefetching large images",
  async run(context) {
    const count = context.isQuick ? 100 : 500;
    await using site = await Site.start({ isSecure: true, hasTokens: true });
    // Of 500 KB as the registry has them: they compress to about a half.
    const images = makeImages({ count, repositories: 10, objectBytes: 1_020_000 });
    const sizes = images.flatMap(({ image }) => image.layers.map(({ size }) => size));
    putIntoStorage(site.storage, images);
    const references = images.map(({ repository, tag }) => `${site.host}/${repository}:${tag}`);
    images.length = 0;
    const residentMb: number[] = [];
    const anonymousMb: number[] = [];
    for (let round = 0; round < (context.isQuick ? 1 : 3); round++) {
      const directory = join(context.directory, "cache");
      rmSync(directory, { recursive: true, force: true });
      const worker = await TakeWorker.start({ directory, caFile: site.caFile, references });
      const result = await worker.take();
      residentMb.push(result.residentMb);
      anonymousMb.push(result.anonymousMb);
    }
    const rows: Samples[] = [
      { name: "bpfcache prefetch, most resident", values: residentMb },
      { name: "bpfcache prefetch, of that in no file, at the end", values: anonymousMb },
    ];
    const kilobytes = Math.round(median(sizes) / 1_000);
    return {
      tables: [{ title: `${count} images with a layer of ${kilobytes} KB`, unit: "MB", rows }],
      goals: [atMost("resident memory in MB", 150, median(residentMb))],
    };
  },
};
