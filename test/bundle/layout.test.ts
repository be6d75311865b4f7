import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import { OciLayoutSource } from "../../src/source/oci-layout.js";
import { Environment } from "../../src/store/environment.js";
import { digestKey } from "../../src/store/keys.js";
import { failureOf, imageNamed, openTestCache, temporaryDirectory } from "../pull/support.js";
import { imageIndex } from "../support/image-builder.js";
import {
  blobsIn,
  cacheWith,
  filesIn,
  type IndexJson,
  newPath,
  readJson,
  seedImages,
  seedPath,
} from "./support.js";

const one = "registry.example/org/one:v1";
const two = "registry.example/org/two:v2";
const multi = "registry.example/org/multi:v3";
const imageOne = imageNamed("one");
const imageTwo = imageNamed("two");
const index = imageIndex([
  { image: imageNamed("multi_amd64", { platform: "linux/amd64" }) },
  { image: imageNamed("multi_arm64", { platform: "linux/arm64" }) },
]);
const images = { [one]: imageOne, [two]: imageTwo, [multi]: index };

describe("an exported layout", () => {
  it("holds exactly what the image is made of, byte for byte", async () => {
    const cache = await cacheWith({ [one]: imageOne });
    const output = newPath("layout");
    const result = await cache.export([one], { output });
    const expected = [imageOne.manifest, imageOne.config, ...imageOne.layers].map(({ digest }) => digest);
    expect(blobsIn(output).sort()).toEqual(expected.sort());
    for (const digest of expected) {
      expect(digestOf(readFileSync(join(output, "blobs", digest.replace(":", "/"))))).toBe(digest);
    }
    expect(result).toMatchObject({
      output,
      format: "oci-dir",
      failed: [],
      lock: { [one]: imageOne.root.digest },
      images: [{ reference: one, rootDigest: imageOne.root.digest, platforms: ["linux/amd64"], missing: [] }],
    });
  });

  it("is read back to the same references, digests and bytes", async () => {
    const cache = await cacheWith(images, { allPlatforms: true });
    const output = newPath("layout");
    await cache.export([], { all: true, output });
    const copy = await openTestCache();
    await seedPath(copy, output, { allPlatforms: true });
    const summary = (from: typeof cache): unknown =>
      from.list().map(({ reference, platform, rootDigest, objects }) => ({
        reference,
        platform,
        rootDigest,
        objects,
      }));
    expect(summary(copy)).toEqual(summary(cache));
  });

  it("names an image by its whole reference and by its tag", async () => {
    const cache = await cacheWith({ [one]: imageOne });
    const output = newPath("layout");
    await cache.export([one], { output });
    const { manifests } = readJson<IndexJson>(output, "index.json");
    expect(manifests).toEqual([
      {
        mediaType: imageOne.root.mediaType,
        digest: imageOne.root.digest,
        size: imageOne.root.size,
        annotations: { "io.containerd.image.name": one, "org.opencontainers.image.ref.name": "v1" },
      },
    ]);
  });

  it("never gives one name to two images: where tags clash, names are whole references", async () => {
    const other = "registry.example/org/other:v1";
    const cache = await cacheWith({ [one]: imageOne, [other]: imageTwo });
    const output = newPath("layout");
    await cache.export([], { all: true, output });
    const { manifests } = readJson<IndexJson>(output, "index.json");
    expect(manifests.map(({ annotations }) => annotations?.["org.opencontainers.image.ref.name"])).toEqual([
      one,
      other,
    ]);
  });

  it("keeps a reference that is a digest", async () => {
    const byDigest = `registry.example/org/one@${imageOne.root.digest}`;
    const cache = await cacheWith({ [one]: imageOne });
    const output = newPath("layout");
    await cache.export([byDigest], { output });
    const source = await OciLayoutSource.open(output);
    expect(source.references().map(String)).toEqual([byDigest]);
  });

  it("keeps the root of an index of which not all is cached, and says what is missing", async () => {
    const cache = await cacheWith({ [multi]: index });
    const output = newPath("layout");
    const { images: exported } = await cache.export([multi], { output });
    const absent = index.children[1]?.root.digest;
    expect(exported).toMatchObject([
      {
        rootDigest: index.root.digest,
        platforms: ["linux/amd64"],
        missing: [{ digest: absent, platform: "linux/arm64" }],
      },
    ]);
    expect(blobsIn(output)).toContain(index.root.digest);
    expect(blobsIn(output)).not.toContain(absent);
    const copy = await openTestCache();
    await seedPath(copy, output);
    expect(copy.inspect(multi).rootDigest).toBe(index.root.digest);
  });

  it("has the chosen platforms only", async () => {
    const cache = await cacheWith({ [multi]: index }, { allPlatforms: true });
    const output = newPath("layout");
    const { images: exported } = await cache.export([multi], { output, platforms: ["linux/arm64"] });
    expect(exported[0]?.platforms).toEqual(["linux/arm64"]);
    expect(blobsIn(output)).toContain(index.children[1]?.root.digest);
    expect(blobsIn(output)).not.toContain(index.children[0]?.root.digest);
  });
});

describe("the bytes of an export", () => {
  it("do not depend on when and in which order the cache was filled", async () => {
    const outputs = [newPath("a"), newPath("b")] as const;
    await (await cacheWith(images, { allPlatforms: true })).export([], { all: true, output: outputs[0] });
    const reversed = Object.fromEntries(Object.entries(images).reverse());
    const filledLater = await cacheWith(reversed, { allPlatforms: true });
    await seedImages(filledLater, { "registry.example/org/unrelated:v1": imageNamed("unrelated") });
    await filledLater.export([two, multi, one], { output: outputs[1] });
    expect(filesIn(outputs[1])).toEqual(filesIn(outputs[0]));
  });

  it.each(["layout", "archive.tar"])(
    "are the same after a journey through another cache: %s",
    async (name) => {
      const cache = await cacheWith(images, { allPlatforms: true });
      const layout = newPath("layout");
      const [first, second] = [newPath(name), newPath(name)] as const;
      await cache.export([], { all: true, output: layout });
      await cache.export([], { all: true, output: first });
      const copy = await openTestCache();
      await seedPath(copy, layout, { allPlatforms: true });
      await copy.export([], { all: true, output: second });
      const bytesOf = (path: string): unknown =>
        name === "layout" ? filesIn(path) : digestOf(readFileSync(path));
      expect(bytesOf(second)).toEqual(bytesOf(first));
      expect(readFileSync(`${second}.lock.json`)).toEqual(readFileSync(`${first}.lock.json`));
    },
  );

  it("are the same in a stream as in a file", async () => {
    const cache = await cacheWith(images);
    const file = newPath("archive.tar");
    await cache.export([], { all: true, output: file });
    const { PassThrough } = await import("node:stream");
    const stream = new PassThrough();
    const chunks: Buffer[] = [];
    stream.on("data", (chunk: Buffer) => chunks.push(chunk));
    const { output } = await cache.export([], { all: true, output: stream });
    expect(output).toBe("-");
    expect(Buffer.concat(chunks)).toEqual(readFileSync(file));
  });
});

describe("the lock of an export", () => {
  it("stands in the bundle and beside it, and names references, digests and content", async () => {
    const cache = await cacheWith({ [two]: imageTwo, [one]: imageOne });
    const output = newPath("layout");
    await cache.export([], { all: true, output });
    const inside = readJson<{ version: number; images: { reference: string; content: string[] }[] }>(
      output,
      "bpfcache-lock.json",
    );
    expect(readFileSync(`${output}.lock.json`, "utf8")).toBe(
      readFileSync(join(output, "bpfcache-lock.json"), "utf8"),
    );
    expect(inside.version).toBe(1);
    expect(inside.images.map(({ reference }) => reference)).toEqual([one, two]);
    expect([...new Set(inside.images.flatMap(({ content }) => content))].sort()).toEqual(
      blobsIn(output).sort(),
    );
  });

  it("goes where it is told", async () => {
    const cache = await cacheWith({ [one]: imageOne });
    const [output, lock] = [newPath("layout"), newPath("my.lock")] as const;
    await cache.export([one], { output, lock });
    expect(readJson<object>(lock)).toMatchObject({ version: 1 });
    expect(readdirSync(dirname(output))).toEqual(["layout"]);
  });
});

describe("what cannot be exported", () => {
  it("stops nothing else, and is reported", async () => {
    const cache = await cacheWith({ [one]: imageOne });
    const output = newPath("layout");
    const result = await cache.export([one, two, "not a reference"], { output });
    expect(result.images.map(({ reference }) => reference)).toEqual([one]);
    expect(result.failed).toMatchObject([
      { reference: "not a reference", code: "USAGE" },
      { reference: two, code: "NOT_CACHED" },
    ]);
    expect(result.lock).toEqual({ [one]: imageOne.root.digest });
  });

  it("is a failure as a whole when there is nothing else, and leaves nothing", async () => {
    const cache = await cacheWith({ [one]: imageOne });
    const output = newPath("layout");
    const failure = await failureOf(cache.export([two], { output }));
    expect(failure).toMatchObject({ code: "NOT_CACHED", reference: two });
    expect(readdirSync(dirname(output))).toEqual([]);
  });

  it("includes a platform that is not cached", async () => {
    const cache = await cacheWith({ [multi]: index });
    const failure = await failureOf(
      cache.export([multi], { output: newPath("layout"), platforms: ["linux/arm64"] }),
    );
    expect(failure).toMatchObject({ code: "NOT_CACHED" });
    expect(failure.message).toContain("linux/amd64");
  });

  it("includes a platform that was cached before the reference moved on", async () => {
    const cache = await cacheWith({ [multi]: index }, { allPlatforms: true });
    const moved = imageIndex([
      { image: imageNamed("moved_amd64", { platform: "linux/amd64" }) },
      { image: imageNamed("moved_arm64", { platform: "linux/arm64" }) },
    ]);
    const layout = newPath("layout");
    await (await cacheWith({ [multi]: moved })).export([multi], { output: layout });
    await seedPath(cache, layout, { overwrite: true });
    const result = await cache.export([multi], { output: newPath("layout") });
    expect(result.images).toMatchObject([{ rootDigest: moved.root.digest, platforms: ["linux/amd64"] }]);
    expect(result.failed).toMatchObject([{ reference: multi, code: "NOT_CACHED" }]);
    expect(result.failed[0]?.message).toContain("linux/arm64");
  });

  it.each(["layers", "configs", "manifests"] as const)(
    "is damaged content in %s: nothing is left behind",
    async (tree) => {
      for (const name of ["layout", "archive.tar"]) {
        const directory = temporaryDirectory();
        const cache = await cacheWith({ [one]: imageOne, [two]: imageTwo }, { directory });
        damage(directory, tree);
        const output = newPath(name);
        const failure = await failureOf(cache.export([], { all: true, output }));
        expect(failure).toMatchObject({ code: "CACHE_CORRUPT", reference: one });
        expect(readdirSync(dirname(output))).toEqual([]);
      }
    },
  );

  it("is an image whose layers have been dropped, and they are named", async () => {
    const cache = await cacheWith({ [one]: imageOne, [two]: imageTwo }, { offline: true });
    cache.pin(two);
    await cache.prune({ dropLayers: true });
    const { images: exported, failed } = await cache.export([], { all: true, output: newPath("layout") });
    expect(exported.map(({ reference }) => reference)).toEqual([two]);
    expect(failed).toMatchObject([{ reference: one, code: "NOT_CACHED" }]);
    expect(failed[0]?.message).toContain(imageOne.layers[0]?.digest);
  });
});

describe("the place of an export", () => {
  it.each(["layout", "archive.tar"])("is not overwritten unasked: %s", async (name) => {
    const cache = await cacheWith({ [one]: imageOne, [two]: imageTwo });
    const output = newPath(name);
    await cache.export([one], { output });
    expect(await failureOf(cache.export([two], { output }))).toMatchObject({ code: "USAGE" });
    const { lock } = await cache.export([two], { output, overwrite: true });
    expect(Object.keys(lock)).toEqual([two]);
    expect(readFileSync(`${output}.lock.json`, "utf8")).toContain(two);
    expect(readdirSync(dirname(output)).sort()).toEqual([name, `${name}.lock.json`]);
  });

  it("may be an empty directory", async () => {
    const cache = await cacheWith({ [one]: imageOne });
    const output = temporaryDirectory();
    await cache.export([one], { output, lock: newPath("lock") });
    expect(readdirSync(output).sort()).toEqual(["blobs", "bpfcache-lock.json", "index.json", "oci-layout"]);
  });

  it("is never somebody's directory, whatever is asked", async () => {
    const cache = await cacheWith({ [one]: imageOne });
    const output = temporaryDirectory();
    writeFileSync(join(output, "thesis.txt"), "years of work");
    expect(await failureOf(cache.export([one], { output, overwrite: true }))).toMatchObject({
      code: "USAGE",
    });
    expect(readdirSync(output)).toEqual(["thesis.txt"]);
  });

  it("is named when it cannot be written", async () => {
    const cache = await cacheWith({ [one]: imageOne });
    for (const name of ["layout", "archive.tar"]) {
      const output = join("/proc/nowhere", name);
      const failure = await failureOf(cache.export([one], { output, lock: newPath("lock") }));
      expect(failure.code).toBe("USAGE");
      expect(failure.message).toContain(output);
    }
  });

  it("has nothing at it when the export is interrupted", async () => {
    const cache = await cacheWith(images, { allPlatforms: true });
    for (const name of ["layout", "archive.tar"]) {
      const output = newPath(name);
      const controller = new AbortController();
      let files = 0;
      const exporting = cache.export([], {
        all: true,
        output,
        signal: controller.signal,
        onEvent: ({ event }) => {
          if (event === "exporting" && ++files === 4) controller.abort();
        },
      });
      expect(await failureOf(exporting)).toMatchObject({ code: "INTERRUPTED" });
      expect(readdirSync(dirname(output))).toEqual([]);
    }
  });
});

it("tells what it writes, and which images are in it", async () => {
  const cache = await cacheWith({ [one]: imageOne });
  const events: string[] = [];
  const shares: number[] = [];
  let told = 0;
  const { bytes } = await cache.export([one], {
    output: newPath("layout"),
    onEvent: (event) => {
      if (event.event === "exporting") told = event.bytes;
      if (event.event === "bundling") shares.push(event.bytes / event.total);
      events.push(event.event);
    },
  });
  expect(told).toBe(bytes);
  const blobs = ["exporting", "bundling", "exporting", "bundling", "exporting", "bundling"];
  const rest = ["exporting", "exporting"]; // The index and the lock.
  expect(events).toEqual(["batch", "exporting", "bundling", ...blobs, ...rest, "exported"]);
  expect(shares).toEqual([...shares].sort((a, b) => a - b));
  expect([shares[0], shares.at(-1)]).toEqual([0, 1]);
});

/** Changes the last byte of some content of the first image. */
function damage(directory: string, tree: "layers" | "configs" | "manifests"): void {
  const environment = Environment.open({ directory });
  const { digest } =
    { layers: imageOne.layers[0], configs: imageOne.config, manifests: imageOne.manifest }[tree] ?? {};
  const key = digestKey(digest ?? imageOne.root.digest);
  environment.commit(() => {
    const bytes = environment.tree(tree).get(key) ?? Buffer.alloc(0);
    bytes[bytes.length - 1] = (bytes[bytes.length - 1] ?? 0) ^ 1;
    environment.tree(tree).put(key, bytes);
  });
  environment.close();
}
