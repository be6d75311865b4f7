import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { bytecodeImage, type TestImage, writeLayout } from "../support/image-builder.js";
import { HoldingProxy } from "./holding-proxy.js";
import {
  asked,
  eventAwaited,
  failureOf,
  imageNamed,
  openTestCache,
  startRegistry,
  temporaryDirectory,
  timesAsked,
} from "./support.js";

const first = imageNamed("first");
/** Another image with the layer of the first. */
const sibling = bytecodeImage({ layers: first.layers, labels: { name: "sibling" } });
const layer = first.layers[0]?.digest ?? "";

/** A registry with two repositories whose images share a layer, behind a proxy, and a cache. */
async function withSharedLayer() {
  const registry = await startRegistry();
  registry.add("org/one:v1", first);
  registry.add("org/two:v1", sibling);
  const proxy = await HoldingProxy.start(registry);
  const [one, two] = [proxy.reference("org/one:v1"), proxy.reference("org/two:v1")];
  return { registry, proxy, cache: await openTestCache(), one, two };
}

/** Fires when a pull of `image` has its config, and so has asked for its layers too. */
const configCame = (image: TestImage) =>
  eventAwaited((event) => event.event === "fetched" && event.digest === image.config.digest);

describe("callers at the same moment", () => {
  it("of one reference share one pull, all twenty of them", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", first);
    const cache = await openTestCache();
    const pulls = Array.from({ length: 20 }, () => cache.pull(registry.reference("org/prog:v1")));
    const digests = (await Promise.all(pulls)).map(({ rootDigest }) => rootDigest);
    expect(new Set(digests)).toEqual(new Set([first.root.digest]));
    expect(asked(registry)).toHaveLength(3);
  });

  it("under Always share one question", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", first);
    const cache = await openTestCache();
    const reference = registry.reference("org/prog:v1");
    await cache.pull(reference);
    registry.forget();
    await Promise.all(Array.from({ length: 20 }, () => cache.pull(reference, { pullPolicy: "Always" })));
    expect(asked(registry)).toEqual(["GET manifest 304"]);
  });

  it("of two references fetch the layer they share once", async () => {
    const { registry, proxy, cache, one, two } = await withSharedLayer();
    const hold = proxy.hold(layer);
    const pulls = [cache.pull(one)];
    await hold.arrived;
    const config = configCame(sibling);
    pulls.push(cache.pull(two, { onEvent: config.onEvent }));
    await config.seen;
    hold.release();
    await Promise.all(pulls);
    expect(timesAsked(registry, layer)).toBe(1);
  });

  it("of two references each get their own image", async () => {
    const { cache, one, two } = await withSharedLayer();
    const [a, b] = await Promise.all([cache.pull(one), cache.pull(two)]);
    expect([a.rootDigest, b.rootDigest]).toEqual([first.root.digest, sibling.root.digest]);
  });

  it("share a failure, which costs one request", async () => {
    const registry = await startRegistry();
    const cache = await openTestCache();
    const pulls = Array.from({ length: 5 }, () => failureOf(cache.pull(registry.reference("org/none:v1"))));
    expect((await Promise.all(pulls)).map(({ code }) => code)).toEqual(Array(5).fill("NOT_FOUND"));
    expect(asked(registry)).toHaveLength(1);
  });
});

describe("a caller that gives up", () => {
  it("gets INTERRUPTED with its own reason at once", async () => {
    const { proxy, cache, one } = await withSharedLayer();
    const hold = proxy.hold(layer);
    const controller = new AbortController();
    const failure = failureOf(cache.pull(one, { signal: controller.signal }));
    await hold.arrived;
    controller.abort("no longer wanted");
    const { code, cause, reference } = await failure;
    expect({ code, cause, reference }).toEqual({
      code: "INTERRUPTED",
      cause: "no longer wanted",
      reference: one,
    });
  });

  it("before it began costs no request", async () => {
    const { registry, cache, one } = await withSharedLayer();
    const failure = await failureOf(cache.pull(one, { signal: AbortSignal.abort() }));
    expect([failure.code, registry.connections]).toEqual(["INTERRUPTED", 0]);
  });

  it("does not take along another who wants the same image", async () => {
    const { registry, proxy, cache, one } = await withSharedLayer();
    const hold = proxy.hold(layer);
    const controller = new AbortController();
    const given = failureOf(cache.pull(one, { signal: controller.signal }));
    const kept = cache.pull(one);
    await hold.arrived;
    controller.abort();
    await given;
    hold.release();
    expect((await kept).rootDigest).toBe(first.root.digest);
    expect(asked(registry)).toHaveLength(3);
  });

  it("does not take along another image's download of the same layer", async () => {
    const { registry, proxy, cache, one, two } = await withSharedLayer();
    const hold = proxy.hold(layer);
    const controller = new AbortController();
    const given = failureOf(cache.pull(one, { signal: controller.signal }));
    await hold.arrived;
    const config = configCame(sibling);
    const kept = cache.pull(two, { onEvent: config.onEvent });
    await config.seen;
    controller.abort();
    await given;
    hold.release();
    expect((await kept).rootDigest).toBe(sibling.root.digest);
    expect(timesAsked(registry, layer)).toBe(1);
  });

  it("as the last one closes the connection", async () => {
    const { proxy, cache, one } = await withSharedLayer();
    const hold = proxy.hold(layer);
    const controllers = [new AbortController(), new AbortController()];
    const given = controllers.map(({ signal }) => failureOf(cache.pull(one, { signal })));
    await hold.arrived;
    for (const controller of controllers) controller.abort();
    await Promise.all([...given, hold.closed]);
  });

  it("as the last one of a layer two images share closes its connection", async () => {
    const { proxy, cache, one, two } = await withSharedLayer();
    const hold = proxy.hold(layer);
    const controller = new AbortController();
    const given = [failureOf(cache.pull(one, { signal: controller.signal }))];
    await hold.arrived;
    const config = configCame(sibling);
    given.push(failureOf(cache.pull(two, { signal: controller.signal, onEvent: config.onEvent })));
    await config.seen;
    controller.abort();
    await Promise.all([...given, hold.closed]);
  });

  it("leaves nothing behind", async () => {
    const { proxy, cache, one } = await withSharedLayer();
    const hold = proxy.hold(layer);
    const controller = new AbortController();
    const given = failureOf(cache.pull(one, { signal: controller.signal }));
    await hold.arrived;
    controller.abort();
    await given;
    expect(cache.list()).toEqual([]);
  });

  it("does not spoil the next pull", async () => {
    const { proxy, cache, one } = await withSharedLayer();
    const hold = proxy.hold(layer);
    const controller = new AbortController();
    const given = failureOf(cache.pull(one, { signal: controller.signal }));
    await hold.arrived;
    controller.abort();
    // The next one comes while the aborted download is still being torn down.
    const next = cache.pull(one);
    await given;
    hold.release();
    expect((await next).rootDigest).toBe(first.root.digest);
  });

  it("by closing the cache gets INTERRUPTED, and the connection is closed", async () => {
    const { proxy, cache, one } = await withSharedLayer();
    const hold = proxy.hold(layer);
    const failure = failureOf(cache.pull(one));
    await hold.arrived;
    await cache.close();
    await hold.closed;
    expect((await failure).code).toBe("INTERRUPTED");
  });
});

describe("a failure", () => {
  it.each([
    ["of the manifest", { kind: "manifest" }],
    ["of a blob", { kind: "blob" }],
  ] as const)("%s is not remembered", async (_, match) => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", first);
    const repair = registry.break(match, { status: 404 });
    const cache = await openTestCache();
    const reference = registry.reference("org/prog:v1");
    expect((await failureOf(cache.pull(reference))).code).toBe("NOT_FOUND");
    repair();
    expect((await cache.pull(reference)).rootDigest).toBe(first.root.digest);
  });

  it("of digests is not remembered", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", first);
    const repair = registry.break({ path: layer }, { body: Buffer.alloc(first.layers[0]?.size ?? 0) });
    const cache = await openTestCache();
    const reference = registry.reference("org/prog:v1");
    expect((await failureOf(cache.pull(reference))).code).toBe("DIGEST_MISMATCH");
    repair();
    expect((await cache.pull(reference)).rootDigest).toBe(first.root.digest);
  });

  it("in one repository does not fail another's pull of the layer they share", async () => {
    const { registry, proxy, cache, one, two } = await withSharedLayer();
    registry.remove(`org/one@${layer}`);
    const hold = proxy.hold(layer);
    const failing = failureOf(cache.pull(one));
    await hold.arrived;
    const config = configCame(sibling);
    const kept = cache.pull(two, { onEvent: config.onEvent });
    await config.seen;
    hold.release();
    expect((await failing).code).toBe("NOT_FOUND");
    expect((await kept).rootDigest).toBe(sibling.root.digest);
  });

  it("of an image that lies about a layer's size does not fail an honest one at the same time", async () => {
    const { registry, proxy, cache, two } = await withSharedLayer();
    const lying = bytecodeImage({
      layers: first.layers,
      editManifest: (manifest) => {
        manifest.layers = manifest.layers.map((descriptor) => ({ ...descriptor, size: 1 }));
      },
    });
    registry.add("org/lying:v1", lying);
    const hold = proxy.hold(layer);
    const failing = failureOf(cache.pull(proxy.reference("org/lying:v1")));
    await hold.arrived;
    const config = configCame(sibling);
    const kept = cache.pull(two, { onEvent: config.onEvent });
    await config.seen;
    hold.release();
    expect((await failing).code).toBe("DIGEST_MISMATCH");
    expect((await kept).rootDigest).toBe(sibling.root.digest);
  });

  it("names the reference it happened to", async () => {
    const { registry, proxy, cache, one, two } = await withSharedLayer();
    registry.remove(`org/one@${layer}`);
    registry.remove(`org/two@${layer}`);
    const hold = proxy.hold(layer);
    const failing = [failureOf(cache.pull(one))];
    await hold.arrived;
    const config = configCame(sibling);
    failing.push(failureOf(cache.pull(two, { onEvent: config.onEvent })));
    await config.seen;
    hold.release();
    expect((await Promise.all(failing)).map(({ reference }) => reference)).toEqual([one, two]);
  });
});

describe("prefetch", () => {
  const good = ["one", "two", "three"].map((name) => ({ name: `org/${name}:v1`, image: imageNamed(name) }));

  async function mixed() {
    const registry = await startRegistry();
    for (const { name, image } of good) registry.add(name, image);
    registry.add(
      "org/bad:v1",
      imageNamed("bad", { entries: [{ path: "README", bytes: Buffer.from("hi") }] }),
    );
    const bad = ["org/bad:v1", "org/none:v1"].map((name) => registry.reference(name));
    const references = good.map(({ name }) => registry.reference(name));
    const all = [references[0] ?? "", ...bad, "Not A Reference", ...references.slice(1)];
    return { registry, cache: await openTestCache(), references, bad, all };
  }

  it.each([1, 8])("takes in all that can be, %i at a time, whatever fails", async (jobs) => {
    const { cache, references, all } = await mixed();
    const { images } = await cache.prefetch(all, { jobs });
    expect(images.map(({ reference }) => reference)).toEqual([...references].sort());
    expect(cache.list()).toHaveLength(3);
  });

  it("reports each failure with its reference and code", async () => {
    const { cache, bad, all } = await mixed();
    const { failed } = await cache.prefetch(all);
    expect(Object.fromEntries(failed.map(({ reference, code }) => [reference, code]))).toEqual({
      [bad[0] ?? ""]: "INVALID_IMAGE",
      [bad[1] ?? ""]: "NOT_FOUND",
      "Not A Reference": "USAGE",
    });
  });

  it("locks what it took in, and nothing else", async () => {
    const { cache, references, all } = await mixed();
    const { lock } = await cache.prefetch(all);
    expect(lock).toEqual(
      Object.fromEntries(references.map((reference, i) => [reference, good[i]?.image.root.digest])),
    );
  });

  it("takes a reference that is named twice once", async () => {
    const { registry, cache, references } = await mixed();
    const { images } = await cache.prefetch([...references, ...references]);
    expect([images.length, asked(registry).length]).toEqual([3, 9]);
  });

  it.each([0, -1, 1.5])("refuses %d jobs as USAGE", async (jobs) => {
    const { cache, references } = await mixed();
    expect((await failureOf(cache.prefetch(references, { jobs }))).code).toBe("USAGE");
  });

  it("goes on when the failing image shares its layer with a good one", async () => {
    const { registry, cache, one, two } = await withSharedLayer();
    registry.remove(`org/one@${layer}`);
    const { images, failed } = await cache.prefetch([one, two]);
    expect([images, failed].map((list) => list.map(({ reference }) => reference))).toEqual([[two], [one]]);
  });
});

describe("many at once", () => {
  /** What Node says when a signal has collected more listeners than it finds likely. */
  async function warningsDuring(work: () => Promise<unknown>): Promise<string[]> {
    const warnings: string[] = [];
    const note = ({ name }: Error): void => void warnings.push(name);
    process.on("warning", note);
    try {
      await work();
      await new Promise((resolve) => setImmediate(resolve));
      return warnings;
    } finally {
      process.off("warning", note);
    }
  }

  it("callers make Node warn of nothing", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", first);
    const cache = await openTestCache();
    const pulls = () =>
      Promise.all(Array.from({ length: 20 }, () => cache.pull(registry.reference("org/prog:v1"))));
    expect(await warningsDuring(pulls)).toEqual([]);
  });

  it("layers make Node warn of nothing", async () => {
    const names = Array.from({ length: 20 }, (_, i) => `layer${i}`);
    const registry = await startRegistry();
    registry.add("org/prog:v1", bytecodeImage({ layers: names.flatMap((name) => imageNamed(name).layers) }));
    const cache = await openTestCache();
    expect(await warningsDuring(() => cache.pull(registry.reference("org/prog:v1")))).toEqual([]);
  });
});

describe("two layouts that give one name to different images", () => {
  const second = imageNamed("second");

  /** Seeds both at the same moment; the root digest each reports, or why it failed. */
  async function seedBoth(overwrite: boolean): Promise<string[]> {
    const cache = await openTestCache();
    const seed = async (image: TestImage) => {
      const directory = temporaryDirectory();
      writeLayout(directory, [{ name: "example.com/org/prog:v1", root: image }]);
      const { images, failed } = await cache.seed([directory], { overwrite });
      return images[0]?.rootDigest ?? failed[0]?.code ?? "nothing";
    };
    return Promise.all([seed(first), seed(second)]);
  }

  it("are two seeds, also at the same moment", async () => {
    expect(await seedBoth(true)).toEqual([first.root.digest, second.root.digest]);
  });

  it("at the same moment do not move the name under each other's feet without overwrite", async () => {
    expect(await seedBoth(false)).toContain("USAGE");
  });
});

describe("a download under way", () => {
  it("keeps no other process from writing", async () => {
    const { registry, proxy, cache, one } = await withSharedLayer();
    registry.add("org/other:v1", imageNamed("other"));
    const hold = proxy.hold(layer);
    const pull = cache.pull(one);
    await hold.arrived;
    const reference = registry.reference("org/other:v1");
    const options = ["--cache-dir", cache.directory, "--platform", "linux/amd64"];
    await promisify(execFile)(process.execPath, ["dist/packed/main.js", "pull", reference, ...options]);
    expect(cache.list().map((image) => image.reference)).toEqual([reference]);
    hold.release();
    await pull;
  });
});
