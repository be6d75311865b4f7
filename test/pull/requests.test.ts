import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { bytecodeImage, imageIndex } from "../support/image-builder.js";
import type { TestRegistry } from "../support/test-registry.js";
import {
  asked,
  bytesOf,
  imageNamed,
  openTestCache,
  startRegistry,
  temporaryDirectory,
  timesAsked,
} from "./support.js";

const amd64 = imageNamed("amd64", { platform: "linux/amd64" });
const arm64 = imageNamed("arm64", { platform: "linux/arm64" });
const index = imageIndex([{ image: amd64 }, { image: arm64 }]);

/** An image that has the layer of `amd64` under a config of its own. */
const sibling = bytecodeImage({ layers: amd64.layers, labels: { name: "sibling" } });

/** A registry that has answered one pull of `name`, and the cache that has the image. */
async function afterPulling(name: string, image: Parameters<TestRegistry["add"]>[1]) {
  const registry = await startRegistry();
  registry.add(name, image);
  const cache = await openTestCache();
  await cache.pull(registry.reference(name));
  registry.forget();
  return { registry, cache };
}

describe("an image that is not here", () => {
  it("costs three requests: manifest, config, layer", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", amd64);
    const cache = await openTestCache();
    const { from, requests, bytesFetched } = await cache.pull(registry.reference("org/prog:v1"));
    expect(asked(registry)).toEqual(["GET manifest 200", "GET blob 200", "GET blob 200"]);
    expect({ from, requests, bytesFetched }).toEqual({
      from: "registry",
      requests: 3,
      bytesFetched: bytesOf(amd64),
    });
  });

  it("costs four through an index", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", index);
    const cache = await openTestCache();
    const { from, requests, bytesFetched } = await cache.pull(registry.reference("org/prog:v1"));
    expect(asked(registry)).toEqual(["GET manifest 200", "GET manifest 200", "GET blob 200", "GET blob 200"]);
    expect({ from, requests, bytesFetched }).toEqual({
      from: "registry",
      requests: 4,
      bytesFetched: index.root.size + bytesOf(amd64),
    });
  });

  it("costs a layer more for each layer", async () => {
    const registry = await startRegistry();
    const image = bytecodeImage({ layers: [...amd64.layers, ...arm64.layers] });
    registry.add("org/prog:v1", image);
    const cache = await openTestCache();
    const { requests, bytesFetched } = await cache.pull(registry.reference("org/prog:v1"));
    expect(asked(registry)).toHaveLength(4);
    expect({ requests, bytesFetched }).toEqual({ requests: 4, bytesFetched: bytesOf(image) });
  });

  it("costs nothing for what its manifest carries itself", async () => {
    const registry = await startRegistry();
    const data = amd64.layers[0]?.bytes.toString("base64");
    const image = bytecodeImage({
      layers: amd64.layers,
      editManifest: (manifest) => {
        manifest.layers = manifest.layers.map((layer) => ({ ...layer, data }));
      },
    });
    registry.add("org/prog:v1", image);
    const cache = await openTestCache();
    const { requests } = await cache.pull(registry.reference("org/prog:v1"));
    expect([requests, asked(registry).length]).toEqual([2, 2]);
  });
  it("costs the requests that a failed download repeats", async () => {
    const registry = await startRegistry();
    registry.add("org/prog:v1", amd64);
    registry.break({ kind: "manifest", times: 1 }, { status: 503 });
    const cache = await openTestCache({ limits: { retries: 1 } });
    const { requests } = await cache.pull(registry.reference("org/prog:v1"));
    expect([requests, asked(registry).length]).toEqual([4, 4]);
  });
});

describe("IfNotPresent, when the image is here", () => {
  it("costs no request", async () => {
    const { registry, cache } = await afterPulling("org/prog:v1", amd64);
    const { from, requests, bytesFetched } = await cache.pull(registry.reference("org/prog:v1"));
    expect(asked(registry)).toEqual([]);
    expect({ from, requests, bytesFetched }).toEqual({ from: "cache", requests: 0, bytesFetched: 0 });
  });

  it("opens no connection, even in a process that has none yet", async () => {
    const { registry, cache } = await afterPulling("org/prog:v1", index);
    await cache.close();
    const later = await openTestCache({ directory: cache.directory });
    await later.pull(registry.reference("org/prog:v1"));
    expect(registry.connections).toBe(0);
  });

  it("needs no registry", async () => {
    const { registry, cache } = await afterPulling("org/prog:v1", amd64);
    const reference = registry.reference("org/prog:v1");
    await registry.close();
    expect((await cache.pull(reference)).from).toBe("cache");
  });
});

describe("Always", () => {
  it.each([
    ["a single manifest", amd64],
    ["an index", index],
  ])("costs one request when %s has not changed", async (_, image) => {
    const { registry, cache } = await afterPulling("org/prog:v1", image);
    const { from, requests, bytesFetched } = await cache.pull(registry.reference("org/prog:v1"), {
      pullPolicy: "Always",
    });
    expect(asked(registry)).toEqual(["GET manifest 304"]);
    expect({ from, requests, bytesFetched }).toEqual({ from: "cache", requests: 1, bytesFetched: 0 });
  });

  it("costs one request when nothing has changed at a registry without ETags", async () => {
    const registry = await startRegistry({ etags: false });
    registry.add("org/prog:v1", amd64);
    const cache = await openTestCache();
    await cache.pull(registry.reference("org/prog:v1"));
    registry.forget();
    const { from, requests } = await cache.pull(registry.reference("org/prog:v1"), { pullPolicy: "Always" });
    expect(asked(registry)).toEqual(["GET manifest 200"]);
    expect({ from, requests }).toEqual({ from: "cache", requests: 1 });
  });

  it("counts the manifest that a registry without ETags sends again", async () => {
    const registry = await startRegistry({ etags: false });
    registry.add("org/prog:v1", amd64);
    const cache = await openTestCache();
    await cache.pull(registry.reference("org/prog:v1"));
    const { bytesFetched } = await cache.pull(registry.reference("org/prog:v1"), { pullPolicy: "Always" });
    expect(bytesFetched).toBe(amd64.manifest.size);
  });

  it("costs three when the tag has moved to an image that shares nothing", async () => {
    const { registry, cache } = await afterPulling("org/prog:v1", amd64);
    registry.add("org/prog:v1", arm64);
    const { from, requests } = await cache.pull(registry.reference("org/prog:v1"), { pullPolicy: "Always" });
    expect(asked(registry)).toHaveLength(3);
    expect({ from, requests }).toEqual({ from: "registry", requests: 3 });
  });

  it("costs two when the tag has moved to an image with the same layer", async () => {
    const { registry, cache } = await afterPulling("org/prog:v1", amd64);
    registry.add("org/prog:v1", sibling);
    const { requests, bytesFetched } = await cache.pull(registry.reference("org/prog:v1"), {
      pullPolicy: "Always",
    });
    expect(asked(registry)).toHaveLength(2);
    expect({ requests, bytesFetched }).toEqual({
      requests: 2,
      bytesFetched: sibling.manifest.size + sibling.config.size,
    });
  });
});

describe("a digest that is held", () => {
  const names = [
    ["its own repository", "org/prog"],
    ["a repository it never came from", "other/name"],
    ["a repository and a tag", "org/prog:v9"],
  ] as const;

  it.each(names)("costs nothing under %s, even under Always", async (_, name) => {
    const { registry, cache } = await afterPulling("org/prog:v1", amd64);
    const { from, requests } = await cache.pull(registry.reference(`${name}@${amd64.root.digest}`), {
      pullPolicy: "Always",
    });
    expect({ connections: registry.connections, asked: asked(registry) }).toEqual({
      connections: 0,
      asked: [],
    });
    expect({ from, requests }).toEqual({ from: "cache", requests: 0 });
  });

  it("costs nothing at another registry, which need not exist", async () => {
    const { cache } = await afterPulling("org/prog:v1", amd64);
    const image = await cache.pull(`registry.invalid/org/prog@${amd64.root.digest}`, {
      pullPolicy: "Always",
    });
    expect(image.from).toBe("cache");
  });

  it("costs nothing when it is the manifest inside an index that is here", async () => {
    const { registry, cache } = await afterPulling("org/prog:v1", index);
    const image = await cache.pull(registry.reference(`org/prog@${amd64.root.digest}`), {
      pullPolicy: "Always",
    });
    expect(asked(registry)).toEqual([]);
    expect([image.rootDigest, image.requests]).toEqual([amd64.root.digest, 0]);
  });

  it("costs nothing when it is an index", async () => {
    const { registry, cache } = await afterPulling("org/prog:v1", index);
    const image = await cache.pull(registry.reference(`org/prog@${index.root.digest}`));
    expect(asked(registry)).toEqual([]);
    expect(image.manifestDigest).toBe(amd64.root.digest);
  });
});

describe("content that is held", () => {
  it("makes a second tag of an image cost one request", async () => {
    const { registry, cache } = await afterPulling("org/prog:v1", amd64);
    registry.add("org/prog:v2", amd64);
    const { requests, bytesFetched } = await cache.pull(registry.reference("org/prog:v2"));
    expect(asked(registry)).toEqual(["GET manifest 200"]);
    expect({ requests, bytesFetched }).toEqual({ requests: 1, bytesFetched: amd64.manifest.size });
  });

  it("is not fetched again from another repository: the layer", async () => {
    const { registry, cache } = await afterPulling("org/prog:v1", amd64);
    registry.add("other/name:v1", sibling);
    const { requests } = await cache.pull(registry.reference("other/name:v1"));
    expect([timesAsked(registry, sibling.layers[0]?.digest ?? ""), requests]).toEqual([0, 2]);
  });

  it("is not fetched again from another repository: the manifest inside an index", async () => {
    const { registry, cache } = await afterPulling("org/prog:v1", amd64);
    registry.add("other/name:v1", index);
    const { requests } = await cache.pull(registry.reference("other/name:v1"));
    expect(asked(registry)).toEqual(["GET manifest 200"]);
    expect(requests).toBe(1);
  });

  it("is not fetched again for another platform that has the same layer", async () => {
    const layers = amd64.layers;
    const shared = imageIndex([
      { image: bytecodeImage({ layers, platform: "linux/amd64" }) },
      { image: bytecodeImage({ layers, platform: "linux/arm64" }) },
    ]);
    const { registry, cache } = await afterPulling("org/prog:v1", shared);
    const { requests } = await cache.pull(registry.reference("org/prog:v1"), { platform: "linux/arm64" });
    expect(asked(registry)).toEqual(["GET manifest 200", "GET manifest 200", "GET blob 200"]);
    expect(requests).toBe(3);
  });

  it("is fetched again when nothing needs it any more", async () => {
    const { registry, cache } = await afterPulling("org/prog:v1", amd64);
    cache.remove(registry.reference("org/prog:v1"));
    const { requests } = await cache.pull(registry.reference("org/prog:v1"));
    expect([requests, asked(registry).length]).toEqual([3, 3]);
  });
});

describe("a registry with Bearer tokens", () => {
  const options = { auth: { type: "bearer", username: "me", password: "secret" } } as const;

  async function cacheWithLogin(registry: TestRegistry) {
    const authFile = join(temporaryDirectory(), "auth.json");
    const auth = Buffer.from("me:secret").toString("base64");
    writeFileSync(authFile, JSON.stringify({ auths: { [registry.host]: { auth } } }));
    return openTestCache({ authFile });
  }

  it("costs one 401 and one token more for the first image", async () => {
    const registry = await startRegistry(options);
    registry.add("org/prog:v1", amd64);
    const cache = await cacheWithLogin(registry);
    const { requests } = await cache.pull(registry.reference("org/prog:v1"));
    expect(asked(registry)).toEqual([
      "GET manifest 401",
      "GET token 200",
      "GET manifest 200",
      "GET blob 200",
      "GET blob 200",
    ]);
    expect(requests).toBe(5);
  });

  it("costs no more than without for the second image of the same repository", async () => {
    const registry = await startRegistry(options);
    registry.add("org/prog:v1", amd64);
    registry.add("org/prog:v2", arm64);
    const cache = await cacheWithLogin(registry);
    await cache.pull(registry.reference("org/prog:v1"));
    registry.forget();
    const { requests } = await cache.pull(registry.reference("org/prog:v2"));
    expect(asked(registry)).toEqual(["GET manifest 200", "GET blob 200", "GET blob 200"]);
    expect(requests).toBe(3);
  });

  it("costs a token but no 401 for an image of another repository", async () => {
    const registry = await startRegistry(options);
    registry.add("org/prog:v1", amd64);
    registry.add("org/other:v1", arm64);
    const cache = await cacheWithLogin(registry);
    await cache.pull(registry.reference("org/prog:v1"));
    registry.forget();
    const { requests } = await cache.pull(registry.reference("org/other:v1"));
    expect(asked(registry)).toEqual(["GET token 200", "GET manifest 200", "GET blob 200", "GET blob 200"]);
    expect(requests).toBe(4);
  });

  it("costs one request under Always when nothing has changed", async () => {
    const registry = await startRegistry(options);
    registry.add("org/prog:v1", amd64);
    const cache = await cacheWithLogin(registry);
    await cache.pull(registry.reference("org/prog:v1"));
    registry.forget();
    await cache.pull(registry.reference("org/prog:v1"), { pullPolicy: "Always" });
    expect(asked(registry)).toEqual(["GET manifest 304"]);
  });

  it("costs one 401 and one token more without a login where anybody may read", async () => {
    const registry = await startRegistry({ auth: { type: "bearer" } });
    registry.add("org/prog:v1", amd64);
    const cache = await openTestCache();
    const { requests } = await cache.pull(registry.reference("org/prog:v1"));
    expect(asked(registry).slice(0, 2)).toEqual(["GET manifest 401", "GET token 200"]);
    expect([requests, asked(registry).length]).toEqual([5, 5]);
  });
});

describe("what a batch cost", () => {
  it("is the sum of what its images say, however much they share", async () => {
    const registry = await startRegistry();
    const names = ["one", "two", "three", "four"].map((name) => `org/${name}:v1`);
    for (const name of names) {
      registry.add(name, bytecodeImage({ layers: amd64.layers, labels: { name } }));
    }
    const cache = await openTestCache();
    const { images } = await cache.prefetch(names.map((name) => registry.reference(name)));
    const sum = images.reduce((total, { requests }) => total + requests, 0);
    expect([images.length, sum]).toEqual([4, asked(registry).length]);
  });
});
