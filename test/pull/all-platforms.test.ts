import { describe, expect, it } from "vitest";
import { bytecodeImage, imageIndex, minimalBpfElf, writeLayout } from "../support/image-builder.js";
import { openTestCache, startRegistry, temporaryDirectory } from "./support.js";

const [amd64, arm64] = ["linux/amd64", "linux/arm64"].map((platform) => bytecodeImage({ platform }));
const s390x = bytecodeImage({
  platform: "linux/s390x",
  objects: [{ path: "program.o", bytes: minimalBpfElf({ order: "big" }) }],
});
const images = [amd64 ?? s390x, arm64 ?? s390x, s390x];
const index = imageIndex(images.map((image) => ({ image })));

describe("all platforms", () => {
  it("are taken in side by side, the root asked for once", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", index);
    const cache = await openTestCache();
    const reference = registry.reference("org/prog:v1");
    const { images: pulled, failed } = await cache.prefetch([reference], { allPlatforms: true });
    expect(failed).toEqual([]);
    expect(pulled.map(({ platform }) => platform).sort()).toEqual([
      "linux/amd64",
      "linux/arm64",
      "linux/s390x",
    ]);
    expect(pulled.map(({ rootDigest }) => rootDigest)).toEqual(Array(3).fill(index.root.digest));
    expect(registry.requests.filter(({ path }) => path.endsWith("/v1"))).toHaveLength(1);
    expect(pulled.reduce((sum, { requests }) => sum + requests, 0)).toBe(registry.requests.length);
  });

  it("cost one request when they are here and nothing has changed", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", index);
    const cache = await openTestCache();
    await cache.prefetch([registry.reference("org/prog:v1")], { allPlatforms: true });
    registry.forget();
    await cache.prefetch([registry.reference("org/prog:v1")], { allPlatforms: true });
    expect(registry.requests).toHaveLength(1);
  });

  it("of a single manifest are the host's", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", s390x);
    const cache = await openTestCache({ platform: "linux/s390x" });
    const { images: pulled } = await cache.prefetch([registry.reference("org/prog:v1")], {
      allPlatforms: true,
    });
    expect(pulled.map(({ platform }) => platform)).toEqual(["linux/s390x"]);
  });

  it("under Never are those that are here", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", index);
    const cache = await openTestCache();
    const references = [registry.reference("org/prog:v1")];
    await cache.prefetch(references, { platform: "linux/arm64" });
    const { images: pulled } = await cache.prefetch(references, { allPlatforms: true, pullPolicy: "Never" });
    expect(pulled.map(({ platform }) => platform)).toEqual(["linux/arm64"]);
  });

  it("are seeded from a layout", async () => {
    const directory = temporaryDirectory();
    writeLayout(directory, [{ name: "x.io/prog:v1", root: index }]);
    const cache = await openTestCache();
    const { images: seeded } = await cache.seed([directory], { allPlatforms: true });
    expect(seeded).toHaveLength(3);
    expect(cache.bytecode("x.io/prog:v1", { platform: "linux/s390x" }).bytes[5]).toBe(2);
  });
});
