import { describe, expect, it } from "vitest";
import { checkClosure } from "../reliability/check-closure.js";
import { bytecodeImage, imageIndex, minimalBpfElf } from "../support/image-builder.js";
import { failureOf, imageNamed, openTestCache, startRegistry } from "./support.js";

describe("an image whose layers were dropped", () => {
  async function dropped(options: { readonly maxBytes?: number } = {}) {
    const registry = await startRegistry();
    const image = imageNamed("dropped");
    registry.add("org/prog:v1", image);
    const cache = await openTestCache(options);
    const reference = registry.reference("org/prog:v1");
    await cache.pull(reference);
    await cache.prune({ dropLayers: true });
    registry.forget();
    return { registry, image, cache, reference, layer: image.layers[0]?.digest ?? "" };
  }

  it("is still a hit", async () => {
    const { registry, cache, reference } = await dropped();
    expect(await cache.pull(reference)).toMatchObject({ from: "cache", requests: 0 });
    expect(cache.bytecode(reference).bytes.byteLength).toBeGreaterThan(0);
    expect(registry.requests).toEqual([]);
  });

  it("gets back what is missing, and only that", async () => {
    const { registry, cache, reference, layer, image } = await dropped();
    expect(cache.inspect(reference).layers).toMatchObject([{ isCached: false }]);
    expect(await cache.restoreLayers(reference)).toEqual({
      reference,
      manifestDigest: image.manifest.digest,
      layers: [{ digest: layer, size: image.layers[0]?.size }],
      requests: 1,
      bytesFetched: image.layers[0]?.size,
    });
    expect(registry.requests.map(({ path }) => path)).toEqual([`/v2/org/prog/blobs/${layer}`]);
    expect(cache.inspect(reference).layers).toMatchObject([{ isCached: true }]);
    expect(checkClosure(cache.directory)).toEqual([]);
    expect(await cache.restoreLayers(reference)).toMatchObject({ layers: [], requests: 0 });
  });

  it("gets back without a request what another image has", async () => {
    const { registry, cache, reference, image } = await dropped();
    const other = bytecodeImage({ layers: image.layers, labels: { other: "yes" } });
    registry.add("org/other:v1", other);
    await cache.pull(registry.reference("org/other:v1"));
    expect(await cache.restoreLayers(reference)).toMatchObject({
      layers: [{}],
      requests: 0,
      bytesFetched: 0,
    });
    expect(checkClosure(cache.directory)).toEqual([]);
  });

  it("is NOT_CACHED offline, and so is one that is not here", async () => {
    const { cache, reference } = await dropped();
    const offline = await openTestCache({ directory: cache.directory, offline: true });
    expect(await failureOf(offline.restoreLayers(reference))).toMatchObject({
      code: "NOT_CACHED",
      reference,
    });
    expect(await failureOf(cache.restoreLayers("x.io/none:v1"))).toMatchObject({ code: "NOT_CACHED" });
  });

  it("does not get back other bytes than its own", async () => {
    const { registry, cache, reference, image, layer } = await dropped();
    image.blobs.set(image.layers[0]?.digest ?? image.config.digest, Buffer.alloc(image.layers[0]?.size ?? 0));
    registry.add("org/prog:v1", image);
    expect(await failureOf(cache.restoreLayers(reference))).toMatchObject({ code: "DIGEST_MISMATCH" });
    expect(cache.inspect(reference).layers).toMatchObject([{ digest: layer, isCached: false }]);
  });

  it("is served whole, on whatever platform, once its manifest is asked for", async () => {
    const registry = await startRegistry();
    const big = { path: "program.o", bytes: minimalBpfElf({ order: "big" }) };
    const foreign = bytecodeImage({ platform: "linux/s390x", objects: [big] });
    registry.add("org/many:v1", imageIndex([{ image: bytecodeImage() }, { image: foreign }]));
    const cache = await openTestCache();
    const reference = registry.reference("org/many:v1");
    await cache.prefetch([reference], { allPlatforms: true });
    await cache.prune({ dropLayers: true });
    const server = await cache.serve();
    const name = `${server.url}/v2/${reference.slice(0, -":v1".length)}`;
    const layer = `${name}/blobs/${foreign.layers[0]?.digest}`;
    expect((await fetch(layer)).status).toBe(404);
    expect((await fetch(`${name}/manifests/${foreign.manifest.digest}`)).status).toBe(200);
    expect(Buffer.from(await (await fetch(layer)).arrayBuffer())).toEqual(foreign.layers[0]?.bytes);
  });

  it("is served as far as it is here when the registry cannot be reached", async () => {
    const { registry, cache, reference, image, layer } = await dropped();
    await registry.close();
    const server = await cache.serve();
    const name = `${server.url}/v2/${reference.slice(0, -":v1".length)}`;
    expect((await fetch(`${name}/manifests/${image.manifest.digest}`)).status).toBe(200);
    expect((await fetch(`${name}/blobs/${layer}`)).status).toBe(404);
  });
});

describe("a budget", () => {
  it("that an image cannot fit into fails before a blob of it is fetched", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", imageNamed("toobig"));
    const cache = await openTestCache({ maxBytes: 100 });
    expect(await failureOf(cache.pull(registry.reference("org/prog:v1")))).toMatchObject({
      code: "CACHE_FULL",
    });
    expect(registry.requests.filter(({ kind }) => kind === "blob")).toEqual([]);
    expect(cache.list()).toEqual([]);
  });

  it("tells the call that evicts what it evicts", async () => {
    const registry = await startRegistry();
    const references = ["one", "two"].map((name) => {
      registry.add(`org/${name}:v1`, imageNamed(name));
      return registry.reference(`org/${name}:v1`);
    });
    const measure = await openTestCache();
    await measure.pull(references[0] ?? "");
    const { bytes } = measure.usage();
    const cache = await openTestCache({ maxBytes: Math.round(bytes * 1.5), evictionGraceMs: 0 });
    const evicted: unknown[] = [];
    for (const reference of references)
      await cache.pull(reference, { onEvent: (event) => event.event === "evicted" && evicted.push(event) });
    expect(evicted).toMatchObject([{ reference: references[0], bytes, reason: "size" }]);
    expect(cache.list()).toHaveLength(1);
  });
});
