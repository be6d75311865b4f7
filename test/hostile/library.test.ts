import { describe, expect, it } from "vitest";
import {
  asked,
  failureOf,
  openTestCache,
  rowsIn,
  startRegistry,
  temporaryDirectory,
} from "../pull/support.js";
import {
  bytecodeImage,
  imageIndex,
  layerOf,
  minimalBpfElf,
  type TestRoot,
  tarOf,
} from "../support/image-builder.js";
import { archives, documents, type HostileCase, hostileName, objects, paddedTo, transfers } from "./cases.js";

/** Pulls what the case serves; the cache is closed afterwards, so that its database can be looked into. */
async function pullHostile({ serve, limits }: HostileCase) {
  const registry = await startRegistry();
  serve(registry);
  const cache = await openTestCache({ limits });
  const reference = registry.reference(hostileName);
  const failure = await failureOf(cache.pull(reference));
  const listed = cache.list();
  await cache.close();
  return { failure, reference, listed, rows: rowsIn(cache.directory), requests: asked(registry) };
}

describe.each([
  ["archives", archives],
  ["objects", objects],
  ["documents", documents],
  ["transfers", transfers],
])("hostile %s", (_, cases) => {
  it.each(cases.map((hostile) => [hostile.what, hostile.code, hostile] as const))(
    "%s is %s, and nothing is written",
    async (_what, code, hostile) => {
      const { failure, reference, listed, rows } = await pullHostile(hostile);
      expect({ code: failure.code, reference: failure.reference, listed, rows }).toEqual({
        code,
        reference,
        listed: [],
        rows: {},
      });
    },
  );
});

describe("what is refused by its description alone", () => {
  const described = [...documents].filter(({ what }) =>
    /urls|foreign|distributed|bytes|just over|no digest|digest (that|of)|artifact|1,001/.test(what),
  );

  it.each(described.map((hostile) => [hostile.what, hostile] as const))(
    "is not asked for: %s",
    async (_, hostile) => {
      const { requests } = await pullHostile(hostile);
      // The config may be on its way when the layer turns out too big.
      expect(requests.filter((request) => request !== "GET manifest 200").length).toBeLessThanOrEqual(1);
    },
  );

  it("is not asked for elsewhere either: a layer's own urls reach no server", async () => {
    const elsewhere = await startRegistry();
    const registry = await startRegistry();
    registry.add(
      hostileName,
      bytecodeImage({
        editManifest: (manifest) => ({
          ...manifest,
          layers: manifest.layers.map((layer) => ({ ...layer, urls: [`${elsewhere.url}/layer`] })),
        }),
      }),
    );
    const cache = await openTestCache();
    await failureOf(cache.pull(registry.reference(hostileName)));
    expect(elsewhere.connections).toBe(0);
  });
});

describe("a document that is not what its digest names", () => {
  it.each([
    ["of other bytes", bytecodeImage().manifest.bytes.toString().replace("schemaVersion", "schemaversion")],
    ["that is another image", bytecodeImage({ labels: {} }).manifest.bytes.toString()],
  ])("is a DIGEST_MISMATCH: one %s", async (_, body) => {
    const image = bytecodeImage();
    const registry = await startRegistry();
    registry.add(hostileName, image);
    registry.break({ kind: "manifest" }, { body });
    const cache = await openTestCache();
    const failure = await failureOf(cache.pull(registry.reference(`org/prog@${image.root.digest}`)));
    expect([failure.code, failure.expected, cache.list()]).toEqual([
      "DIGEST_MISMATCH",
      image.root.digest,
      [],
    ]);
  });
});

describe("a layer that is here already", () => {
  it("is a DIGEST_MISMATCH under a size that is not its own", async () => {
    const image = bytecodeImage();
    const lying = bytecodeImage({
      layers: image.layers.map((layer) => ({ ...layer, size: layer.size + 1 })),
      labels: { name: "lying" },
    });
    const registry = await startRegistry();
    registry.add("org/honest:v1", image);
    registry.add(hostileName, lying);
    const cache = await openTestCache();
    await cache.pull(registry.reference("org/honest:v1"));
    expect((await failureOf(cache.pull(registry.reference(hostileName)))).code).toBe("DIGEST_MISMATCH");
  });

  it("is refused as the config of another image", async () => {
    const image = bytecodeImage();
    const [layer] = image.layers;
    const registry = await startRegistry();
    registry.add("org/honest:v1", image);
    registry.add(
      hostileName,
      bytecodeImage({
        layers: image.layers,
        editManifest: (manifest) => ({
          ...manifest,
          config: { ...manifest.config, digest: layer?.digest, size: layer?.size },
        }),
      }),
    );
    const cache = await openTestCache();
    await cache.pull(registry.reference("org/honest:v1"));
    expect((await failureOf(cache.pull(registry.reference(hostileName)))).code).toBe("INVALID_IMAGE");
  });
});

describe("a redirect loop", () => {
  it("ends after ten hops", async () => {
    const registry = await startRegistry();
    registry.add(hostileName, bytecodeImage());
    registry.break({ kind: "manifest" }, { redirect: "/v2/org/prog/manifests/v1" });
    const cache = await openTestCache();
    await failureOf(cache.pull(registry.reference(hostileName)));
    expect(asked(registry)).toHaveLength(11);
  });
});

describe("what is just inside the limits", () => {
  const object = { path: "program.o", bytes: minimalBpfElf() };
  const files = Array.from({ length: 9_999 }, (_, i) => ({ path: `file${i}` }));
  const bare = bytecodeImage({ annotations: { pad: "" } }).manifest.size;

  it.each<[string, () => TestRoot]>([
    ["10,000 entries", () => bytecodeImage({ entries: [...files, object] })],
    [
      "a manifest of 4 MiB",
      () => bytecodeImage({ annotations: { pad: "x".repeat(4 * 1024 * 1024 - bare) } }),
    ],
    ["a label of 64 KiB", () => bytecodeImage({ labels: { "io.ebpf.programs": paddedTo(64 * 1024) } })],
    ["directories", () => bytecodeImage({ entries: [{ path: "a/", type: "directory" }, object] })],
    ["a name with dots", () => bytecodeImage({ entries: [{ ...object, path: "..a/program..o" }] })],
    ["a right diff_id", () => bytecodeImage({ entries: [object] })],
    ["zeros after the end marker", () => withTar(tarOf([object], { trailing: Buffer.alloc(8 * 1024) }))],
    ["redundant spellings of other names", () => withTar(tarOf([object, { path: "./other//file" }]))],
    ["an index of indexes", () => imageIndex([{ image: imageIndex([{ image: bytecodeImage() }]) }])],
  ])("is taken: %s", async (_, image) => {
    const registry = await startRegistry();
    registry.add(hostileName, image());
    const cache = await openTestCache();
    expect((await cache.pull(registry.reference(hostileName))).objects).toHaveLength(1);
  });

  function withTar(tar: Buffer): TestRoot {
    return bytecodeImage({ layers: [layerOf(tar)] });
  }
});

describe("an image with a strange platform in its config", () => {
  /** Text that is no platform must not become one that no later call can read. */
  it.each(["no such/thing", "amd64 ", "a/b/c/d"])(
    "is read by digest all the same: %j",
    async (architecture) => {
      const image = bytecodeImage({ editConfig: (config) => ({ ...config, architecture }) });
      const registry = await startRegistry();
      registry.add(hostileName, imageIndex([{ image, platform: "linux/amd64" }]));
      const cache = await openTestCache();
      await cache.pull(registry.reference(hostileName));
      const pinned = registry.reference(`org/prog@${image.root.digest}`);
      expect((await cache.pull(pinned)).rootDigest).toBe(image.root.digest);
    },
  );
});

describe("an ETag", () => {
  it.each([
    ["has bytes beyond ASCII", Buffer.from('"中"').toString("latin1")],
    ["is long", `"${"x".repeat(8_000)}"`],
    ["is weak", 'W/"abc"'],
    ["is not quoted", "abc"],
  ])("does not spoil the reference when it %s", async (_, etag) => {
    const registry = await startRegistry();
    registry.add(hostileName, bytecodeImage());
    registry.break({ kind: "manifest" }, { headers: { etag } });
    const directory = temporaryDirectory();
    const cache = await openTestCache({ directory });
    await cache.pull(registry.reference(hostileName));
    const again = await cache.pull(registry.reference(hostileName), { pullPolicy: "Always" });
    expect(again.from).toBe("cache");
  });
});
