import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { openCache, openReader } from "../../../src/index.js";
import { bpfmanLabels, bytecodeImage, type TestImage, writeLayout } from "../../support/image-builder.js";
import { atLeast, type BenchCase, type BenchContext, type Goal, type Table } from "../harness/bench-case.js";
import { LineProgram } from "../harness/children.js";
import { type Contestant, contest, resultOf } from "../harness/contest.js";
import { ratio } from "../harness/samples.js";
import { objectOf } from "../site/images.js";

const platform = "linux/amd64";

const names = {
  view: "bpfcache withBytecode",
  copy: "bpfcache bytecode",
  files: "readFileSync of object and JSON",
  sled: "sled as bpfman used it",
  memcpy: "memcpy",
} as const;

/** What is wanted of the view against files, by size. */
const sizes = [
  { kibibytes: 4, reads: 2_000, wanted: 5 },
  { kibibytes: 64, reads: 500, wanted: 4 },
  { kibibytes: 512, reads: 100, wanted: 3 },
] as const;

export const readCase: BenchCase = {
  name: "read",
  title: "reading by reference in a warm process",
  async run(context) {
    const images = sizes.map(({ kibibytes }) => imageOf(kibibytes));
    const cache = join(context.directory, "cache");
    await seedInto(cache, context.directory, images);
    using reader = openReader({ directory: cache });
    using sled = context.peers.has("bpfman-path")
      ? new LineProgram(context.peers.program("bpfman-path"), [join(context.directory, "sled")])
      : undefined;
    const tables: Table[] = [];
    const goals: Goal[] = [];
    for (const [index, { kibibytes, reads, wanted }] of sizes.entries()) {
      const image = images[index];
      if (image === undefined) continue;
      const reference = referenceOf(kibibytes);
      const object = Buffer.from(reader.bytecode(reference, { platform }).bytes);
      const contestants = [
        viewing(names.view, reads, () => reader.withBytecode(reference, (view) => view.length, { platform })),
        viewing(names.copy, reads, () => reader.bytecode(reference, { platform }).bytes.length),
        viewing(names.files, reads, filesOf(join(context.directory, "files", `${kibibytes}`), object, image)),
        viewing(names.memcpy, reads, copyOf(object)),
        ...(sled === undefined ? [] : [await sledContestant(sled, context, kibibytes, image)]),
      ];
      for (const { run } of contestants) await run(); // Warm.
      const results = await contest(contestants, { rounds: context.isQuick ? 11 : 41 });
      const title = `${kibibytes} KiB object`;
      tables.push({ title, unit: "µs", rows: [...results.values()] });
      const [view, copy, files] = [names.view, names.copy, names.files].map((name) =>
        resultOf(results, name),
      );
      if (view === undefined || copy === undefined || files === undefined) continue;
      goals.push(atLeast(`${title}: view, times as fast as files`, wanted, ratio(files, view)));
      goals.push(atLeast(`${title}: copy, times as fast as files`, 1, ratio(files, copy)));
      const bpfman = results.get(names.sled);
      if (bpfman !== undefined)
        goals.push(atLeast(`${title}: view, times as fast as sled`, 20, ratio(bpfman, view)));
      goals.push(
        atLeast(
          `${title}: view, as a share of memcpy's rate`,
          0.67,
          ratio(resultOf(results, names.memcpy), view),
        ),
      );
    }
    return { tables, goals };
  },
};

function imageOf(kibibytes: number): TestImage {
  const program = `read_${kibibytes}`;
  return bytecodeImage({
    objects: [{ path: `${program}.o`, bytes: objectOf(program, kibibytes * 1_024) }],
    labels: bpfmanLabels({ [program]: "xdp" }),
  });
}

function referenceOf(kibibytes: number): string {
  return `registry.example/bench/read:${kibibytes}`;
}

async function seedInto(cache: string, directory: string, images: readonly TestImage[]): Promise<void> {
  const layout = join(directory, "layout");
  writeLayout(
    layout,
    images.map((root, index) => ({ name: referenceOf(sizes[index]?.kibibytes ?? 0), root })),
  );
  await using opened = await openCache({ directory: cache, platform });
  const { failed } = await opened.seed([layout]);
  if (failed.length > 0) throw new Error(JSON.stringify(failed));
}

/** Microseconds each. */
function viewing(name: string, reads: number, read: () => number): Contestant {
  return {
    name,
    run() {
      const startedAt = performance.now();
      for (let count = 0; count < reads; count++) read();
      return ((performance.now() - startedAt) / reads) * 1_000;
    },
  };
}

/** What bpfman's file cache does for a load: the object, and the JSON beside it. */
function filesOf(directory: string, object: Uint8Array, { config }: TestImage): () => number {
  mkdirSync(directory, { recursive: true });
  const [bytecode, metadata] = [join(directory, "bytecode.o"), join(directory, "metadata.json")];
  writeFileSync(bytecode, object);
  writeFileSync(metadata, config.bytes);
  return () => {
    JSON.parse(readFileSync(metadata, "utf8"));
    return readFileSync(bytecode).length;
  };
}

function copyOf(object: Buffer): () => number {
  const target = Buffer.alloc(object.length);
  return () => object.copy(target);
}

async function sledContestant(
  sled: LineProgram,
  { directory }: BenchContext,
  kibibytes: number,
  { manifest, config, layers }: TestImage,
): Promise<Contestant> {
  const base = `registry.example_bench_read_${kibibytes}`;
  const files = [manifest, config, ...layers].map(({ bytes }, index) => {
    const path = join(directory, `${base}.${index}`);
    writeFileSync(path, bytes);
    return path;
  });
  await sled.ask(["put", base, ...files].join(" "));
  const reads = Math.ceil(400 / kibibytes);
  return {
    name: names.sled,
    async run() {
      const [nanoseconds] = (await sled.ask(`read ${base} ${reads}`)).split(" ").map(Number);
      return (nanoseconds ?? Number.NaN) / reads / 1_000;
    },
  };
}
