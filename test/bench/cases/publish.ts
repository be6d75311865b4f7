import { closeSync, fsyncSync, mkdirSync, openSync, renameSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Publication } from "../../../src/store/publish.js";
import { Store } from "../../../src/store/store.js";
import { atLeast, atMost, type BenchCase } from "../harness/bench-case.js";
import { type Contestant, contest, resultOf } from "../harness/contest.js";
import { ratio } from "../harness/samples.js";
import { publicationOf } from "../stores/publications.js";

const objectBytes = 64 * 1_024;
const batch = 100;
const alone = 20;

const names = {
  alone: "bpfcache, one at a time",
  batch: `bpfcache, ${batch} together`,
  files: "two files: write, fsync, rename",
} as const;

export const publishCase: BenchCase = {
  name: "publish",
  title: "making an image durable and visible",
  async run(context) {
    using store = Store.open({ directory: join(context.directory, "cache") });
    let next = 0;
    const made = (count: number): Publication[] =>
      Array.from({ length: count }, () => publicationOf(next++, objectBytes));
    let publications: Publication[] = [];
    const files = join(context.directory, "files");
    mkdirSync(files);
    const contestants: Contestant[] = [
      {
        name: names.alone,
        prepare() {
          publications = made(alone);
        },
        run: () => millisecondsEach(publications, (each) => store.publish(each)),
      },
      {
        name: names.batch,
        prepare() {
          publications = made(batch);
        },
        async run() {
          const startedAt = performance.now();
          const group = store.groupCommit();
          await Promise.all(
            publications.map((each) => group.join(() => group.run(() => store.publish(each), objectBytes))),
          );
          return (performance.now() - startedAt) / batch;
        },
      },
      {
        name: names.files,
        prepare() {
          publications = made(alone);
        },
        run: () => millisecondsEach(publications, (each) => writeFiles(files, each)),
      },
    ];
    const results = await contest(contestants, { rounds: context.isQuick ? 7 : 31 });
    const theirs = resultOf(results, names.files);
    return {
      tables: [{ title: "an image with an object of 64 KiB", unit: "ms", rows: [...results.values()] }],
      goals: [
        atMost("alone, times as long as two files", 1.2, ratio(resultOf(results, names.alone), theirs)),
        atLeast(
          `${batch} together, times as fast as two files`,
          5,
          ratio(theirs, resultOf(results, names.batch)),
        ),
      ],
      notes: [
        "bpfcache writes manifest, config, layer, object, indexes and reference in one transaction; the files are the object and its JSON, " +
          "each written, flushed and renamed, without a flush of their directory.",
      ],
    };
  },
};

function millisecondsEach(all: readonly Publication[], publish: (each: Publication) => void): number {
  const startedAt = performance.now();
  for (const each of all) publish(each);
  return (performance.now() - startedAt) / all.length;
}

function writeFiles(directory: string, { ref, objects, image }: Publication): void {
  const name = join(directory, ref.reference.replace(/\W/g, "_"));
  for (const { bytes } of objects) writeDurably(`${name}.o`, bytes);
  writeDurably(`${name}.json`, Buffer.from(JSON.stringify({ ...ref, image })));
}

function writeDurably(path: string, bytes: Uint8Array): void {
  const descriptor = openSync(`${path}.tmp`, "w");
  try {
    writeSync(descriptor, bytes);
    fsyncSync(descriptor);
  } finally {
    closeSync(descriptor);
  }
  renameSync(`${path}.tmp`, path);
}
