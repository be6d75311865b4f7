import { describe, expect, it } from "vitest";
import type { BytecodeCache } from "../../src/cache.js";
import type { CacheOptions } from "../../src/options.js";
import { openReader } from "../../src/reader.js";
import { Environment } from "../../src/store/environment.js";
import type { TreeName } from "../../src/store/trees.js";
import { checkClosure } from "../reliability/check-closure.js";
import { bytecodeImage } from "../support/image-builder.js";
import type { TestRegistry } from "../support/test-registry.js";
import { asked, failureOf, imageNamed, openTestCache, startRegistry } from "./support.js";

interface Scene {
  readonly registry: TestRegistry;
  readonly cache: BytecodeCache;
  readonly reference: string;
}

async function scene(options: CacheOptions = {}): Promise<Scene> {
  const registry = await startRegistry();
  registry.add("org/prog:v1", imageNamed("count"));
  const cache = await openTestCache(options);
  const reference = registry.reference("org/prog:v1");
  await cache.pull(reference);
  registry.requests.length = 0;
  return { registry, cache, reference };
}

/** Flips a bit of the last byte of every value. */
function damage(directory: string, ...trees: TreeName[]): void {
  const environment = Environment.open({ directory });
  for (const name of trees) {
    for (const { key, value } of environment.tree(name).entries()) {
      value.writeUInt8(value.readUInt8(value.length - 1) ^ 1, value.length - 1);
      environment.commit(() => environment.tree(name).put(key, value));
    }
  }
  environment.close();
}

async function notesIn(cache: BytecodeCache): Promise<string[]> {
  const { quarantined } = await cache.scrub();
  return quarantined.map(({ tree, reason }) => `${tree}: ${reason}`);
}

describe("an image whose object is damaged", () => {
  it("is no hit, and is extracted again from its layer without a request", async () => {
    const { registry, cache, reference } = await scene();
    const before = cache.inspect(reference);
    damage(cache.directory, "objects");
    expect(await cache.pull(reference)).toMatchObject({ from: "cache", requests: 0, bytesFetched: 0 });
    expect(asked(registry)).toEqual([]);
    const { source, checkedAt } = cache.inspect(reference);
    expect({ source, checkedAt }).toEqual({ source: before.source, checkedAt: before.checkedAt });
    expect(cache.bytecode(reference).programs[0]?.name).toBe("count");
    expect(checkClosure(cache.directory)).toEqual([]);
    expect(await notesIn(cache)).toEqual([expect.stringMatching(/^objects: the object count\.o .* damaged/)]);
  });

  it("is taken in again under every policy, offline too", async () => {
    const { registry, cache, reference } = await scene();
    for (const pullPolicy of ["Never", "IfNotPresent", "Always"] as const) {
      damage(cache.directory, "objects");
      await cache.pull(reference, { pullPolicy });
      expect(cache.bytecode(reference).programs[0]?.name, pullPolicy).toBe("count");
    }
    expect(asked(registry).filter((line) => line.includes("blob"))).toEqual([]);
    expect(checkClosure(cache.directory)).toEqual([]);
  });

  it("is CACHE_CORRUPT to a loader, put into quarantine, not listed, and CACHE_CORRUPT to inspect", async () => {
    const { cache, reference } = await scene();
    damage(cache.directory, "objects");
    const failure = await failureOf((async () => cache.bytecode(reference))());
    expect(failure).toMatchObject({
      code: "CACHE_CORRUPT",
      reference,
      hint: expect.stringContaining("scrub --repair"),
    });
    const incomplete: string[] = [];
    expect(cache.list({}, (name) => incomplete.push(name))).toEqual([]);
    expect(incomplete).toEqual([reference]);
    expect((await failureOf((async () => cache.inspect(reference))())).code).toBe("CACHE_CORRUPT");
    expect((await failureOf((async () => cache.bytecode(reference))())).code).toBe("CACHE_CORRUPT");
    expect(await notesIn(cache)).toHaveLength(1);
  });

  it("is CACHE_CORRUPT to a reader, which changes nothing", async () => {
    const { cache, reference } = await scene();
    damage(cache.directory, "objects");
    using reader = openReader({ directory: cache.directory });
    expect(() => reader.bytecode(reference, { platform: "linux/amd64" })).toThrow(
      expect.objectContaining({ code: "CACHE_CORRUPT" }),
    );
    expect(await notesIn(cache)).toEqual([]);
  });

  it("can be removed, and leaves nothing behind", async () => {
    const { cache, reference } = await scene();
    damage(cache.directory, "objects");
    await failureOf((async () => cache.bytecode(reference))());
    cache.remove(reference);
    expect(checkClosure(cache.directory)).toEqual([]);
    expect(cache.list()).toEqual([]);
  });

  it("is taken in again where its root is given: by a digest, and by a lock", async () => {
    const { registry, cache, reference } = await scene();
    const { rootDigest } = cache.inspect(reference);
    const byDigest = registry.reference(`org/prog@${rootDigest}`);
    await cache.pull(byDigest);
    registry.requests.length = 0;
    damage(cache.directory, "objects");
    expect(await cache.pull(byDigest)).toMatchObject({ from: "cache", requests: 0 });
    damage(cache.directory, "objects");
    const { failed } = await cache.prefetch([reference], { lock: new Map([[reference, rootDigest]]) });
    expect(failed).toEqual([]);
    expect(cache.bytecode(reference).programs[0]?.name).toBe("count");
    expect(asked(registry)).toEqual([]);
    expect(checkClosure(cache.directory)).toEqual([]);
  });

  it("stays what it was when its tag has moved", async () => {
    const { registry, cache, reference } = await scene();
    const { rootDigest } = cache.inspect(reference);
    registry.add("org/prog:v1", bytecodeImage());
    damage(cache.directory, "objects", "layers");
    expect(await cache.pull(reference)).toMatchObject({ rootDigest, requests: 1 });
    expect(checkClosure(cache.directory)).toEqual([]);
  });

  it("is what its tag means now when the source has the old one no more", async () => {
    const { registry, cache, reference } = await scene();
    const next = bytecodeImage();
    registry.remove("org/prog");
    registry.add("org/prog:v1", next);
    damage(cache.directory, "objects", "layers");
    expect((await cache.pull(reference)).rootDigest).toBe(next.root.digest);
    expect(checkClosure(cache.directory)).toEqual([]);
  });
});

describe("damage that only the source can mend", () => {
  it("is CACHE_CORRUPT when nothing may be fetched", async () => {
    const { cache, reference } = await scene();
    damage(cache.directory, "objects", "layers");
    const failure = await failureOf(cache.pull(reference, { pullPolicy: "Never" }));
    expect(failure).toMatchObject({ code: "CACHE_CORRUPT", reference });
  });

  it.each(["manifests", "configs", "layers"] as const)("in %s costs one request", async (name) => {
    const { registry, cache, reference } = await scene();
    damage(cache.directory, "objects", name);
    await cache.pull(reference);
    expect(asked(registry)).toHaveLength(1);
    expect(checkClosure(cache.directory)).toEqual([]);
  });
});

describe("a damaged record", () => {
  it.each(["refs", "images", "objectInfo", "roots", "hosts"] as const)(
    "in %s does not keep a pull from working",
    async (name) => {
      const { cache, reference } = await scene();
      damage(cache.directory, name);
      await cache.pull(reference);
      await cache.pull(`${reference.replace(":v1", "")}@${cache.list()[0]?.rootDigest}`);
      expect(cache.bytecode(reference).programs[0]?.name).toBe("count");
      expect(checkClosure(cache.directory)).toEqual([]);
    },
  );
});
