import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import type { BytecodeCache } from "../../src/cache.js";
import { Environment } from "../../src/store/environment.js";
import { referenceLeaseKey } from "../../src/store/lease-rows.js";
import { bytecodeImage, imageIndex, writeLayout } from "../support/image-builder.js";
import { HoldingProxy } from "./holding-proxy.js";
import {
  asked,
  eventAwaited,
  failureOf,
  imageNamed,
  openTestCache,
  rowsIn,
  startRegistry,
  temporaryDirectory,
  timesAsked,
} from "./support.js";

// Two caches open on one directory are to each other as those of two processes: nothing is shared but the database.

const image = imageNamed("first");
const layer = image.layers[0]?.digest ?? "";
/** Another image with the layer of the first. */
const sibling = bytecodeImage({ layers: image.layers, labels: { name: "sibling" } });
const arm64 = imageNamed("arm", { platform: "linux/arm64" });
const index = imageIndex([{ image }, { image: arm64 }]);

async function twoCaches() {
  const registry = await startRegistry();
  registry.add("org/one:v1", image);
  registry.add("org/two:v1", sibling);
  registry.add("org/many:v1", index);
  const proxy = await HoldingProxy.start(registry);
  const directory = temporaryDirectory();
  const [a, b] = [await openTestCache({ directory }), await openTestCache({ directory })];
  return { registry, proxy, directory, a, b };
}

/** One cache pulls and is kept back at its layer; the other has been waiting for a while. */
async function whileOneDownloads(
  names: readonly [string, string],
  options: Parameters<BytecodeCache["pull"]>[1] = {},
) {
  const { proxy, ...rest } = await twoCaches();
  const hold = proxy.hold(layer);
  const [ofA, ofB] = [new AbortController(), new AbortController()];
  const first = rest.a.pull(proxy.reference(names[0]), { ...options, signal: ofA.signal });
  await hold.arrived;
  const second = rest.b.pull(proxy.reference(names[1]), { ...options, signal: ofB.signal });
  for (const promise of [first, second]) promise.catch(() => {});
  await sleep(100);
  return { ...rest, proxy, hold, first, second, ofA, ofB };
}

async function leasesLeft(directory: string, ...caches: readonly BytecodeCache[]): Promise<number> {
  for (const cache of caches) await cache.close();
  return rowsIn(directory).leases ?? 0;
}

describe("processes that want the same at the same moment", () => {
  it("ask once, and the one that waited finds it in the cache", async () => {
    const { registry, hold, first, second } = await whileOneDownloads(["org/one:v1", "org/one:v1"]);
    expect(asked(registry)).toEqual(["GET manifest 200", "GET blob 200"]); // The layer's request is held.
    hold.release();
    expect([(await first).from, (await second).from, (await second).requests]).toEqual([
      "registry",
      "cache",
      0,
    ]);
    expect(asked(registry)).toHaveLength(3);
  });

  it("under Always each ask what it means, and one fetches", async () => {
    const always = { pullPolicy: "Always" } as const;
    const pulled = await whileOneDownloads(["org/many:v1", "org/many:v1"], always);
    pulled.hold.release();
    expect([(await pulled.first).requests, (await pulled.second).requests]).toEqual([4, 1]);
    expect(timesAsked(pulled.registry, "/manifests/v1")).toBe(2);
    expect(asked(pulled.registry)).toHaveLength(5);
  });

  it("fetch a layer that two images share once", async () => {
    const { registry, hold, first, second } = await whileOneDownloads(["org/one:v1", "org/two:v1"]);
    hold.release();
    const digests = (await Promise.all([first, second])).map(({ rootDigest }) => rootDigest);
    expect(digests).toEqual([image.root.digest, sibling.root.digest]);
    expect(timesAsked(registry, layer)).toBe(1);
  });

  it("fetch what a digest names once, by whatever name it is asked for", async () => {
    const digest = index.root.digest;
    const names = [`org/many@${digest}`, `org/many:v1@${digest}`] as const;
    const { registry, hold, first, second } = await whileOneDownloads(names);
    hold.release();
    await Promise.all([first, second]);
    expect(timesAsked(registry, digest)).toBe(1);
    expect(asked(registry)).toHaveLength(4);
  });

  it("for different platforms fetch the index that a digest names once", async () => {
    const { registry, proxy, a, b } = await twoCaches();
    const reference = proxy.reference(`org/many@${index.root.digest}`);
    await Promise.all([a.pull(reference), b.pull(reference, { platform: "linux/arm64" })]);
    expect(timesAsked(registry, index.root.digest)).toBe(1);
  });

  it("revalidate what is too old once", async () => {
    const { registry, proxy, a, b } = await twoCaches();
    const reference = proxy.reference("org/one:v1");
    await a.pull(reference);
    registry.forget();
    await sleep(300);
    const hold = proxy.hold("/manifests/");
    const first = a.pull(reference, { maxAgeMs: 250 });
    await hold.arrived;
    const second = b.pull(reference, { maxAgeMs: 250 });
    await sleep(50);
    hold.release();
    await Promise.all([first, second]);
    expect(asked(registry)).toEqual(["GET manifest 304"]);
  });

  it("leave no lease", async () => {
    const { directory, a, b, hold, first, second } = await whileOneDownloads(["org/one:v1", "org/two:v1"]);
    hold.release();
    await Promise.all([first, second]);
    expect(await leasesLeft(directory, a, b)).toBe(0);
  });

  it("do not wait for what is read from files", async () => {
    const { b, directory, a, hold, first, second } = await whileOneDownloads(["org/one:v1", "org/one:v1"]);
    const layout = temporaryDirectory();
    writeLayout(layout, [{ name: "example.com/org/one:v1", root: image }]);
    const { images } = await b.seed([layout]);
    expect(images.map(({ from }) => from)).toEqual(["layout"]);
    hold.release();
    await Promise.all([first, second]);
    expect(await leasesLeft(directory, a, b)).toBe(0);
  });
});

describe("a process that gives up", () => {
  it("downloading leaves the download to one who waited", async () => {
    const { hold, first, second, ofA, registry } = await whileOneDownloads(["org/one:v1", "org/one:v1"]);
    ofA.abort();
    expect((await failureOf(first)).code).toBe("INTERRUPTED");
    await hold.closed;
    hold.release();
    expect((await second).rootDigest).toBe(image.root.digest);
    expect(timesAsked(registry, layer)).toBe(1);
  });

  it("waiting does so at once, and leaves the download alone", async () => {
    const { hold, first, second, ofB, registry } = await whileOneDownloads(["org/one:v1", "org/one:v1"]);
    ofB.abort("no longer wanted");
    const { code, cause } = await failureOf(second);
    expect({ code, cause }).toEqual({ code: "INTERRUPTED", cause: "no longer wanted" });
    hold.release();
    expect((await first).from).toBe("registry");
    expect(asked(registry)).toHaveLength(3);
  });

  it("leaves no lease", async () => {
    const { directory, a, b, first, second, ofA, ofB } = await whileOneDownloads([
      "org/one:v1",
      "org/one:v1",
    ]);
    ofA.abort();
    ofB.abort();
    await Promise.all([failureOf(first), failureOf(second)]);
    expect(await leasesLeft(directory, a, b)).toBe(0);
  });

  it("by closing its cache leaves the download to the other", async () => {
    const { a, hold, first, second } = await whileOneDownloads(["org/one:v1", "org/one:v1"]);
    await a.close();
    expect((await failureOf(first)).code).toBe("INTERRUPTED");
    hold.release();
    expect((await second).rootDigest).toBe(image.root.digest);
  });
});

describe("a process that fails", () => {
  it("lets one who waited try, and leaves no lease", async () => {
    const { registry, directory, a, b, proxy } = await twoCaches();
    const repair = registry.break({ kind: "blob", times: 1 }, { status: 404 });
    const hold = proxy.hold("/blobs/");
    const first = failureOf(a.pull(proxy.reference("org/one:v1")));
    await hold.arrived;
    const second = b.pull(proxy.reference("org/one:v1"));
    await sleep(50);
    hold.release();
    expect((await first).code).toBe("NOT_FOUND");
    repair();
    expect((await second).rootDigest).toBe(image.root.digest);
    expect(await leasesLeft(directory, a, b)).toBe(0);
  });

  it("does not make those who waited fail one after the other", async () => {
    const registry = await startRegistry();
    registry.break({}, { status: 404, delayMs: 1_000 });
    const directory = temporaryDirectory();
    const caches = await Promise.all(Array.from({ length: 6 }, () => openTestCache({ directory })));
    const started = performance.now();
    const failures = caches.map((cache) => failureOf(cache.pull(registry.reference("org/none:v1"))));
    expect((await Promise.all(failures)).map(({ code }) => code)).toEqual(Array(6).fill("NOT_FOUND"));
    // One after the other would take six seconds.
    expect(performance.now() - started).toBeLessThan(4_500);
  });
});

describe("a wait for another process", () => {
  it("says so when it takes a while", async () => {
    const { proxy, a, b } = await twoCaches();
    const hold = proxy.hold(layer);
    const reference = proxy.reference("org/one:v1");
    const first = a.pull(reference);
    await hold.arrived;
    const waiting = eventAwaited((event) => event.event === "waiting" && event.reference === reference);
    const second = b.pull(reference, { onEvent: waiting.onEvent });
    await waiting.seen;
    hold.release();
    await Promise.all([first, second]);
  });

  it("ends as CACHE_BUSY about the reference when it takes too long", async () => {
    const { proxy, directory, a } = await twoCaches();
    const impatient = await openTestCache({ directory, limits: { leaseWaitMs: 100 } });
    const hold = proxy.hold(layer);
    const first = a.pull(proxy.reference("org/one:v1"));
    await hold.arrived;
    const { code, reference } = await failureOf(impatient.pull(proxy.reference("org/one:v1")));
    expect({ code, reference }).toEqual({ code: "CACHE_BUSY", reference: proxy.reference("org/one:v1") });
    hold.release();
    await first;
  });

  it("that was taken for dead is not published, but finds what another published", async () => {
    const { hold, first, second, directory, registry } = await whileOneDownloads([
      "org/one:v1",
      "org/one:v1",
    ]);
    forgetLeases(directory);
    await sleep(100); // The other takes over, and asks for the layer too.
    hold.release();
    const sources = (await Promise.all([first, second])).map(({ from }) => from);
    expect(sources.sort()).toEqual(["cache", "registry"]);
    expect(timesAsked(registry, layer)).toBe(2);
  });
});

describe("what is here already", () => {
  it("needs no lease and writes nothing", async () => {
    const { a, b, proxy, directory } = await twoCaches();
    await a.pull(proxy.reference("org/one:v1"));
    const before = fenceIn(directory);
    await b.pull(proxy.reference("org/one:v1"));
    await b.pull(proxy.reference("org/one:v1"), { pullPolicy: "Always" });
    expect(fenceIn(directory)).toEqual(before);
  });
});

describe("an image that is being pulled", () => {
  it("has a lease under its reference and platform", async () => {
    const { hold, first, second, directory, proxy } = await whileOneDownloads(["org/one:v1", "org/one:v1"]);
    const key = referenceLeaseKey(proxy.reference("org/one:v1"), "linux/amd64");
    expect(read(directory, (environment) => environment.tree("leases").has(key))).toBe(true);
    hold.release();
    await Promise.all([first, second]);
    expect(read(directory, (environment) => environment.tree("leases").has(key))).toBe(false);
  });
});

function read<T>(directory: string, use: (environment: Environment) => T): T {
  const environment = Environment.open({ directory });
  try {
    return environment.snapshot(() => use(environment));
  } finally {
    environment.close();
  }
}

/** The counter of leases that were ever taken. */
function fenceIn(directory: string): Buffer | undefined {
  return read(directory, (environment) => environment.tree("meta").get(Buffer.from("leaseFence")));
}

/** As if somebody had found the owners dead. */
function forgetLeases(directory: string): void {
  read(directory, (environment) =>
    environment.commit(() => {
      for (const key of environment.tree("leases").keys()) environment.tree("leases").remove(key);
    }),
  );
}
