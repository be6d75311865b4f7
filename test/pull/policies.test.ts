import { afterEach, describe, expect, it, vi } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import type { CacheEvent } from "../../src/core/events.js";
import { parsePullPolicy } from "../../src/pull/policy.js";
import {
  bytecodeImage,
  imageIndex,
  minimalBpfElf,
  type TestImage,
  type TestRoot,
} from "../support/image-builder.js";
import { asked, failureOf, imageNamed, openTestCache, startRegistry, timesAsked } from "./support.js";

const first = imageNamed("first");
const second = imageNamed("second");
const bigEndian = imageNamed("big", {
  objects: [{ path: "big.o", bytes: minimalBpfElf({ order: "big", programs: [{ name: "big" }] }) }],
  platform: "linux/s390x",
});

/** A registry with one tag, a cache, and the tag's reference. */
async function withTag(image: TestRoot) {
  const registry = await startRegistry();
  registry.add("org/prog:v1", image);
  return { registry, cache: await openTestCache(), reference: registry.reference("org/prog:v1") };
}

describe("a pull policy", () => {
  it.each([
    ["always", "Always"],
    ["IFNOTPRESENT", "IfNotPresent"],
    ["ifNotPresent", "IfNotPresent"],
    ["Never", "Never"],
  ])("is read whatever its case: %s", (text, policy) => {
    expect(parsePullPolicy(text)).toBe(policy);
  });

  it.each(["", "sometimes", "Always ", "if-not-present"])("is refused when it is none: %j", (text) => {
    expect(() => parsePullPolicy(text)).toThrow(expect.objectContaining({ code: "USAGE" }));
  });

  it("is IfNotPresent unless said otherwise", async () => {
    const { registry, cache, reference } = await withTag(first);
    await cache.pull(reference);
    registry.add("org/prog:v1", second);
    expect((await cache.pull(reference)).rootDigest).toBe(first.root.digest);
  });

  it("of a call beats that of the cache", async () => {
    const { registry, reference } = await withTag(first);
    const cache = await openTestCache({ pullPolicy: "Never" });
    await cache.pull(reference, { pullPolicy: "IfNotPresent" });
    expect(asked(registry)).toHaveLength(3);
  });
});

describe("Always", () => {
  it("follows a tag that has moved", async () => {
    const { registry, cache, reference } = await withTag(first);
    await cache.pull(reference);
    registry.add("org/prog:v1", second);
    const image = await cache.pull(reference, { pullPolicy: "Always" });
    expect(image.rootDigest).toBe(second.root.digest);
    expect(Buffer.from(cache.bytecode(reference).bytes)).toEqual(objectOf("second"));
  });

  it("fails when the registry does, and leaves the image readable", async () => {
    const { registry, cache, reference } = await withTag(first);
    await cache.pull(reference);
    await registry.close();
    expect((await failureOf(cache.pull(reference, { pullPolicy: "Always" }))).code).toBe("UNREACHABLE");
    expect(Buffer.from(cache.bytecode(reference).bytes)).toEqual(objectOf("first"));
  });

  it("fails when the tag has gone, and leaves the image readable", async () => {
    const { registry, cache, reference } = await withTag(first);
    await cache.pull(reference);
    registry.remove("org/prog:v1");
    expect((await failureOf(cache.pull(reference, { pullPolicy: "Always" }))).code).toBe("NOT_FOUND");
    expect(cache.bytecode(reference).rootDigest).toBe(first.root.digest);
  });
});

describe("Never", () => {
  it("finds what is here", async () => {
    const { cache, reference } = await withTag(first);
    await cache.pull(reference);
    const { from, requests } = await cache.pull(reference, { pullPolicy: "Never" });
    expect({ from, requests }).toEqual({ from: "cache", requests: 0 });
  });

  it("fails with NOT_CACHED for what is not, and opens no connection", async () => {
    const { registry, cache, reference } = await withTag(first);
    const failure = await failureOf(cache.pull(reference, { pullPolicy: "Never" }));
    expect([failure.code, failure.reference, registry.connections]).toEqual(["NOT_CACHED", reference, 0]);
  });

  it("fails with NOT_CACHED for a platform that was not pulled", async () => {
    const { cache, reference } = await withTag(imageIndex([{ image: first }, { image: bigEndian }]));
    await cache.pull(reference);
    const failure = await failureOf(cache.pull(reference, { pullPolicy: "Never", platform: "linux/s390x" }));
    expect(failure.code).toBe("NOT_CACHED");
  });
});

describe("a cache that is offline", () => {
  it("reads what is here under every policy", async () => {
    const { registry, cache, reference } = await withTag(first);
    await cache.pull(reference);
    await cache.close();
    registry.forget();
    const offline = await openTestCache({ directory: cache.directory, offline: true });
    for (const pullPolicy of ["Always", "IfNotPresent", "Never"] as const) {
      expect((await offline.pull(reference, { pullPolicy, maxAgeMs: 0 })).from).toBe("cache");
    }
    expect(registry.connections).toBe(0);
  });

  it("fails with NOT_CACHED for all else, and opens no connection", async () => {
    const { registry, reference } = await withTag(first);
    const offline = await openTestCache({ offline: true });
    expect((await failureOf(offline.pull(reference, { pullPolicy: "Always" }))).code).toBe("NOT_CACHED");
    expect(registry.connections).toBe(0);
  });
});

describe("a maximal age", () => {
  afterEach(() => vi.useRealTimers());

  const hour = 3_600_000;
  /** Only the date is ours: sockets keep their own time. */
  const setDate = (time: number): void => {
    vi.useFakeTimers({ toFake: ["Date"], now: time });
  };

  it("asks for nothing while the answer is younger", async () => {
    setDate(hour);
    const { registry, cache, reference } = await withTag(first);
    await cache.pull(reference);
    registry.forget();
    setDate(2 * hour);
    await cache.pull(reference, { maxAgeMs: hour });
    expect(asked(registry)).toEqual([]);
  });

  it("asks again when the answer is older, and follows the tag", async () => {
    setDate(hour);
    const { registry, cache, reference } = await withTag(first);
    await cache.pull(reference);
    registry.add("org/prog:v1", second);
    setDate(2 * hour + 1);
    expect((await cache.pull(reference, { maxAgeMs: hour })).rootDigest).toBe(second.root.digest);
  });

  it("counts from the last time the registry was asked, changed or not", async () => {
    setDate(hour);
    const { registry, cache, reference } = await withTag(first);
    await cache.pull(reference);
    setDate(3 * hour);
    await cache.pull(reference, { maxAgeMs: hour });
    registry.forget();
    setDate(4 * hour);
    await cache.pull(reference, { maxAgeMs: hour });
    expect(asked(registry)).toEqual([]);
  });

  it("never asks for a digest again", async () => {
    setDate(hour);
    const { registry, cache } = await withTag(first);
    const pinned = registry.reference(`org/prog@${first.root.digest}`);
    await cache.pull(pinned);
    registry.forget();
    setDate(100 * hour);
    await cache.pull(pinned, { maxAgeMs: 0 });
    expect(asked(registry)).toEqual([]);
  });
});

describe("resolving once", () => {
  /** Moves the tag as soon as the registry has said what it means. */
  const movingTo = (registry: { add(name: string, image: TestRoot): void }, image: TestRoot) => {
    return ({ event }: CacheEvent): void => {
      if (event === "resolved") registry.add("org/prog:v1", image);
    };
  };

  it("never mixes two images when the tag moves during the pull", async () => {
    const { registry, cache, reference } = await withTag(first);
    const image = await cache.pull(reference, { onEvent: movingTo(registry, second) });
    expect([image.rootDigest, image.objects[0]?.programs[0]?.name]).toEqual([first.root.digest, "first"]);
    expect(Buffer.from(cache.bytecode(reference).bytes)).toEqual(objectOf("first"));
  });

  it("never mixes two indexes when the tag moves during the pull", async () => {
    const { registry, cache, reference } = await withTag(imageIndex([{ image: first }]));
    const later = imageIndex([{ image: second }]);
    const image = await cache.pull(reference, { onEvent: movingTo(registry, later) });
    expect(image.manifestDigest).toBe(first.root.digest);
  });

  it("asks for the tag once, and for all else by digest", async () => {
    const { registry, cache, reference } = await withTag(imageIndex([{ image: first }]));
    await cache.pull(reference);
    const keys = registry.requests.map(({ path }) => path.slice(path.lastIndexOf("/") + 1));
    expect(keys.map((key) => (key.startsWith("sha256:") ? "digest" : key))).toEqual([
      "v1",
      "digest",
      "digest",
      "digest",
    ]);
  });
});

describe("a digest beside a tag", () => {
  it("decides what is pulled", async () => {
    const { registry, cache, reference } = await withTag(second);
    registry.add("org/prog", first);
    const image = await cache.pull(`${reference}@${first.root.digest}`);
    expect([image.rootDigest, timesAsked(registry, "/v1")]).toEqual([first.root.digest, 0]);
  });

  it("is not answered by what the tag alone means here", async () => {
    const { registry, cache, reference } = await withTag(second);
    await cache.pull(reference);
    registry.add("org/prog", first);
    const pinned = `${reference}@${first.root.digest}`;
    expect((await failureOf(cache.pull(pinned, { pullPolicy: "Never" }))).code).toBe("NOT_CACHED");
    expect((await cache.pull(pinned)).rootDigest).toBe(first.root.digest);
  });

  it("may be a sha512", async () => {
    const digest = digestOf(first.manifest.bytes, "sha512");
    const { registry, cache } = await withTag({
      ...first,
      manifests: new Map([[digest, { ...first.manifest, digest }]]),
    });
    const image = await cache.pull(registry.reference(`org/prog:v1@${digest}`));
    expect([image.rootDigest, timesAsked(registry, "/v1")]).toEqual([digest, 0]);
  });

  it("leaves the tag alone as it was", async () => {
    const { registry, cache, reference } = await withTag(second);
    await cache.pull(reference);
    registry.add("org/prog", first);
    await cache.pull(`${reference}@${first.root.digest}`);
    expect(cache.bytecode(reference).rootDigest).toBe(second.root.digest);
  });
});

describe("platforms", () => {
  const index = imageIndex([{ image: first }, { image: bigEndian }]);

  it("are kept side by side under one reference", async () => {
    const { cache, reference } = await withTag(index);
    await cache.pull(reference);
    await cache.pull(reference, { platform: "linux/s390x" });
    expect(cache.list().map(({ platform, manifestDigest }) => [platform, manifestDigest])).toEqual([
      ["linux/amd64", first.root.digest],
      ["linux/s390x", bigEndian.root.digest],
    ]);
  });

  it("each read their own object", async () => {
    const { cache, reference } = await withTag(index);
    await cache.pull(reference, { platform: "linux/s390x" });
    await cache.pull(reference);
    const names = [undefined, "linux/s390x"].map(
      (platform) => cache.bytecode(reference, { platform }).programs[0]?.name,
    );
    expect(names).toEqual(["first", "big"]);
  });

  it("give a big-endian object to a big-endian host", async () => {
    const { cache, reference } = await withTag(index);
    await cache.pull(reference, { platform: "linux/s390x" });
    const object = cache.inspect(reference, { platform: "linux/s390x" }).objects[0];
    expect([object?.byteOrder, object?.programs[0]?.name]).toEqual(["big", "big"]);
  });

  it("give a big-endian image without an index to a big-endian host", async () => {
    const { cache, reference } = await withTag(bigEndian);
    expect((await cache.pull(reference, { platform: "linux/s390x" })).platform).toBe("linux/s390x");
  });

  it("of both byte orders read their own object of one image", async () => {
    const objects = (["little", "big"] as const).map((order) => ({
      path: `${order}.o`,
      bytes: minimalBpfElf({ order, programs: [{ name: order }] }),
    }));
    const { cache, reference } = await withTag(bytecodeImage({ objects }));
    await cache.pull(reference);
    await cache.pull(reference, { platform: "linux/s390x" });
    const names = ["linux/amd64", "linux/s390x"].map(
      (platform) => cache.bytecode(reference, { platform }).programs[0]?.name,
    );
    expect(names).toEqual(["little", "big"]);
  });

  it("that an index does not have are a PLATFORM_MISMATCH that names those it has", async () => {
    const { cache, reference } = await withTag(index);
    const failure = await failureOf(cache.pull(reference, { platform: "linux/riscv64" }));
    expect([failure.code, failure.expected, failure.found]).toEqual([
      "PLATFORM_MISMATCH",
      "linux/riscv64",
      "linux/amd64, linux/s390x",
    ]);
  });

  it("of the other byte order are a PLATFORM_MISMATCH without an index too", async () => {
    const { cache, reference } = await withTag(bigEndian);
    const failure = await failureOf(cache.pull(reference));
    expect([failure.code, failure.expected, failure.found]).toEqual(["PLATFORM_MISMATCH", "little", "big"]);
  });
});

describe("an image that is here for a host of the other byte order", () => {
  /** Says nothing of a platform, as images that were built without one. */
  const unnamed = bytecodeImage({
    objects: [{ path: "big.o", bytes: minimalBpfElf({ order: "big" }) }],
    editConfig: ({ os: _, architecture: __, ...config }) => config,
  });
  const kinds: [string, TestImage][] = [
    ["an image that names its platform", bigEndian],
    ["an image that names none", unnamed],
  ];

  it.each(kinds)("is a PLATFORM_MISMATCH under its tag: %s", async (_, image) => {
    const { cache, reference } = await withTag(image);
    await cache.pull(reference, { platform: "linux/s390x" });
    expect((await failureOf(cache.pull(reference))).code).toBe("PLATFORM_MISMATCH");
  });

  it.each(kinds)("is a PLATFORM_MISMATCH under another tag: %s", async (_, image) => {
    const { registry, cache, reference } = await withTag(image);
    registry.add("org/prog:v2", image);
    await cache.pull(reference, { platform: "linux/s390x" });
    expect((await failureOf(cache.pull(registry.reference("org/prog:v2")))).code).toBe("PLATFORM_MISMATCH");
  });

  it.each(kinds)("is a PLATFORM_MISMATCH under its digest: %s", async (_, image) => {
    const { registry, cache, reference } = await withTag(image);
    await cache.pull(reference, { platform: "linux/s390x" });
    const pinned = registry.reference(`org/prog@${image.root.digest}`);
    expect((await failureOf(cache.pull(pinned))).code).toBe("PLATFORM_MISMATCH");
  });

  it.each(kinds)("is not handed to a loader under its digest: %s", async (_, image) => {
    const { registry, cache, reference } = await withTag(image);
    await cache.pull(reference, { platform: "linux/s390x" });
    const pinned = registry.reference(`org/prog@${image.root.digest}`);
    expect(() => cache.bytecode(pinned)).toThrow(
      expect.objectContaining({ code: expect.stringMatching(/NOT_CACHED|PLATFORM_MISMATCH/) }),
    );
  });
});

describe("indexes", () => {
  /** The image under `depth` indexes. */
  const nested = (depth: number): TestRoot =>
    depth === 0 ? first : imageIndex([{ image: nested(depth - 1) }]);

  it.each([1, 2, 3])("may be nested: %i deep", async (depth) => {
    const root = nested(depth);
    const { cache, reference } = await withTag(root);
    const { rootDigest, manifestDigest } = await cache.pull(reference);
    expect({ rootDigest, manifestDigest }).toEqual({
      rootDigest: root.root.digest,
      manifestDigest: first.root.digest,
    });
  });

  it("may not be nested four deep", async () => {
    const { cache, reference } = await withTag(nested(4));
    expect((await failureOf(cache.pull(reference))).code).toBe("INVALID_IMAGE");
  });

  it("may have one entry without a platform, which then fits any", async () => {
    const { cache, reference } = await withTag(imageIndex([{ image: first, platform: "" }]));
    expect((await cache.pull(reference)).manifestDigest).toBe(first.root.digest);
  });

  it("prefer an entry with the platform to one without", async () => {
    const root = imageIndex([{ image: second, platform: "" }, { image: first }]);
    const { cache, reference } = await withTag(root);
    expect((await cache.pull(reference)).manifestDigest).toBe(first.root.digest);
  });

  it("with several entries without a platform are a PLATFORM_MISMATCH, not a guess", async () => {
    const root = imageIndex([
      { image: first, platform: "" },
      { image: second, platform: "" },
    ]);
    const { cache, reference } = await withTag(root);
    expect((await failureOf(cache.pull(reference))).code).toBe("PLATFORM_MISMATCH");
  });

  it("may have attestations in front, which are not images", async () => {
    const annotations = { "vnd.docker.reference.type": "attestation-manifest" };
    const root = imageIndex([
      { image: second, platform: "unknown/unknown", annotations },
      { image: first, platform: "" },
    ]);
    const { cache, reference } = await withTag(root);
    expect((await cache.pull(reference)).manifestDigest).toBe(first.root.digest);
  });

  it("do not count attestations among their platforms", async () => {
    const root = imageIndex([{ image: second, platform: "unknown/unknown" }, { image: first }]);
    const { cache, reference } = await withTag(root);
    await cache.pull(reference);
    expect(cache.inspect(reference).platforms).toEqual(["linux/amd64"]);
  });

  it("with nothing but attestations are a PLATFORM_MISMATCH", async () => {
    const root = imageIndex([{ image: first, platform: "unknown/unknown" }]);
    const { cache, reference } = await withTag(root);
    expect((await failureOf(cache.pull(reference))).code).toBe("PLATFORM_MISMATCH");
  });

  it("of Docker may hold manifests of OCI", async () => {
    const { cache, reference } = await withTag(imageIndex([{ image: first }], { docker: true }));
    expect((await cache.pull(reference)).manifestDigest).toBe(first.root.digest);
  });

  it("may say what a platform is in words that are not GOARCH's", async () => {
    const root = imageIndex([{ image: second, platform: "linux/aarch64" }, { image: first }]);
    const { cache, reference } = await withTag(root);
    expect((await cache.pull(reference, { platform: "linux/arm64/v8" })).manifestDigest).toBe(
      second.root.digest,
    );
  });
});

describe("what a pull tells", () => {
  it("is in order: resolved, fetched, published", async () => {
    const { cache, reference } = await withTag(first);
    const events: string[] = [];
    await cache.pull(reference, { onEvent: ({ event }) => events.push(event) });
    const told = events.filter((event) => ["resolved", "fetched", "published"].includes(event));
    expect(told).toEqual(["resolved", "fetched", "fetched", "published"]);
  });
});

function objectOf(program: string): Buffer {
  return minimalBpfElf({ programs: [{ name: program }] });
}
