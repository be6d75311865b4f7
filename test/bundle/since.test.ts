import { readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, it } from "vitest";
import type { BytecodeCache } from "../../src/cache.js";
import { failureOf, imageNamed, openTestCache } from "../pull/support.js";
import { bytecodeImage, imageIndex, type TestImage } from "../support/image-builder.js";
import { blobsIn, cacheWith, type IndexJson, newPath, readJson, seedPath } from "./support.js";

const kept = "registry.example/org/kept:v1";
const moving = "registry.example/org/moving:latest";
const added = "registry.example/org/added:v1";
const imageKept = imageNamed("kept");
const before = imageNamed("moving");
/** The same layer under another config: what a rebuild with new labels gives. */
const after = bytecodeImage({ layers: before.layers, labels: { build: "2" } });
const imageAdded = imageNamed("added");

/** A site that has taken in the base, and what is to come from the cache that exported it. */
async function siteWithBase(): Promise<{ site: BytecodeCache; source: BytecodeCache; lock: string }> {
  const source = await cacheWith({ [kept]: imageKept, [moving]: before });
  const base = newPath("base");
  await source.export([], { all: true, output: base });
  const site = await openTestCache();
  await seedPath(site, base);
  return { site, source, lock: `${base}.lock.json` };
}

async function move(source: BytecodeCache, images: Readonly<Record<string, TestImage>>): Promise<void> {
  const layout = newPath("moved");
  await (await cacheWith(images)).export([], { all: true, output: layout });
  await seedPath(source, layout, { overwrite: true });
}

describe("an export since an earlier one", () => {
  it("carries only what that one lacks", async () => {
    const { source, lock } = await siteWithBase();
    await move(source, { [moving]: after, [added]: imageAdded });
    const output = newPath("update");
    const { images } = await source.export([], { all: true, since: lock, output });
    const news = [after.manifest, after.config, imageAdded.manifest, imageAdded.config, ...imageAdded.layers];
    expect(blobsIn(output).sort()).toEqual(news.map(({ digest }) => digest).sort());
    expect(images.map(({ reference, bytes }) => ({ reference, isNew: bytes > 0 }))).toEqual([
      { reference: added, isNew: true },
      { reference: kept, isNew: false },
      { reference: moving, isNew: true },
    ]);
    const { manifests } = readJson<IndexJson>(output, "index.json");
    expect(manifests.map(({ digest }) => digest)).toEqual([imageAdded.root.digest, after.root.digest]);
  });

  it("is taken in where the base is, and makes it the same as the source", async () => {
    const { site, source, lock } = await siteWithBase();
    await move(source, { [moving]: after, [added]: imageAdded });
    const update = newPath("update");
    await source.export([], { all: true, since: lock, output: update });
    await seedPath(site, update, { overwrite: true });
    const outputs = [newPath("site.tar"), newPath("source.tar")] as const;
    await site.export([], { all: true, output: outputs[0] });
    await source.export([], { all: true, output: outputs[1] });
    expect(readFileSync(outputs[0])).toEqual(readFileSync(outputs[1]));
  });

  it("says what is missing where the base is not", async () => {
    const { source, lock } = await siteWithBase();
    await move(source, { [moving]: after });
    const update = newPath("update");
    await source.export([], { all: true, since: lock, output: update });
    const { images, failed } = await (await openTestCache()).seed([update]);
    expect(images).toEqual([]);
    expect(failed).toMatchObject([{ reference: moving, code: "NOT_FOUND" }]);
    expect(failed[0]?.message).toContain(before.layers[0]?.digest);
    expect(failed[0]?.message).toContain("base");
  });

  it("carries what only a moving reference held, for another that needs it now", async () => {
    const { site, source, lock } = await siteWithBase();
    const stable = "registry.example/org/stable:v1";
    await move(source, { [moving]: imageAdded, [stable]: before });
    const update = newPath("update");
    await source.export([], { all: true, since: lock, output: update });
    expect(blobsIn(update)).toContain(before.layers[0]?.digest);
    await seedPath(site, update, { overwrite: true });
    expect(site.inspect(stable).rootDigest).toBe(before.root.digest);
  });

  it("lists a new name for an old image, whose manifest is all it takes", async () => {
    const { site, source, lock } = await siteWithBase();
    const alias = "registry.example/org/alias:v1";
    await move(source, { [alias]: imageKept });
    const update = newPath("update");
    await source.export([], { all: true, since: lock, output: update });
    expect(blobsIn(update)).toEqual([imageKept.root.digest]);
    await seedPath(site, update);
    expect(site.inspect(alias).rootDigest).toBe(imageKept.root.digest);
  });

  it("carries a platform that the earlier one had not", async () => {
    const index = imageIndex([
      { image: imageNamed("x_amd64", { platform: "linux/amd64" }) },
      { image: imageNamed("x_arm64", { platform: "linux/arm64" }) },
    ]);
    const source = await cacheWith({ [kept]: index }, { allPlatforms: true });
    const base = newPath("base");
    await source.export([kept], { output: base, platforms: ["linux/amd64"] });
    const site = await openTestCache();
    await seedPath(site, base);
    const update = newPath("update");
    await source.export([kept], { output: update, since: `${base}.lock.json` });
    expect(blobsIn(update)).not.toContain(index.children[0]?.root.digest);
    await seedPath(site, update, { platform: "linux/arm64" });
    expect(site.list().map(({ platform }) => platform)).toEqual(["linux/amd64", "linux/arm64"]);
  });

  it("names an image again for a platform that has the same content as an earlier one", async () => {
    const neutral = imageNamed("neutral");
    const index = imageIndex([
      { image: neutral, platform: "linux/amd64" },
      { image: neutral, platform: "linux/arm64" },
    ]);
    const source = await cacheWith({ [kept]: index }, { allPlatforms: true });
    const [base, update] = [newPath("base"), newPath("update")] as const;
    await source.export([kept], { output: base, platforms: ["linux/amd64"] });
    await source.export([kept], { output: update, since: `${base}.lock.json` });
    const site = await openTestCache();
    await seedPath(site, base);
    await seedPath(site, update, { platform: "linux/arm64" });
    expect(site.list().map(({ platform }) => platform)).toEqual(["linux/amd64", "linux/arm64"]);
  });

  it("has a lock that the next one can go on from", async () => {
    const { source, lock } = await siteWithBase();
    await move(source, { [moving]: after });
    const update = newPath("update");
    await source.export([], { all: true, since: lock, output: update });
    await move(source, { [added]: imageAdded });
    const next = newPath("next");
    await source.export([], { all: true, since: `${update}.lock.json`, output: next });
    expect(blobsIn(next)).toHaveLength(3);
    expect(blobsIn(next)).toContain(imageAdded.root.digest);
  });

  it.each([
    ["is not there", undefined],
    ["is not JSON", "hello"],
    ["is something else", '{"version":2,"images":[]}'],
  ])("needs a lock: one that %s is USAGE", async (_, content) => {
    const { source, lock } = await siteWithBase();
    if (content === undefined) rmSync(lock);
    else writeFileSync(lock, content);
    const output = newPath("update");
    const failure = await failureOf(source.export([], { all: true, since: lock, output }));
    expect(failure.code).toBe("USAGE");
    expect(failure.message).toContain(lock);
    expect(readdirSync(dirname(output))).toEqual([]);
  });

  it.each(["docker-archive", "files"] as const)(
    "is not for %s, which nothing is added to",
    async (format) => {
      const { source, lock } = await siteWithBase();
      const failure = await failureOf(
        source.export([], { all: true, since: lock, format, output: join(newPath("x"), "update") }),
      );
      expect(failure.code).toBe("USAGE");
    },
  );
});
