import { beforeEach, describe, expect, it } from "vitest";
import type { BytecodeCache } from "../../src/cache.js";
import { parsePlatform } from "../../src/core/platform.js";
import { parseReference } from "../../src/core/reference.js";
import { mediaTypes } from "../../src/image/media-types.js";
import { Store } from "../../src/store/store.js";
import { afterThisTest, imageNamed, openTestCache, rowsIn, temporaryDirectory } from "../pull/support.js";
import { checkClosure } from "../reliability/check-closure.js";
import { imageIndex, type TestRoot, writeLayout } from "../support/image-builder.js";
import { publishedReferrer } from "../support/referrer.js";

const signed = imageNamed("signed");
const other = imageNamed("other");
const subject = signed.manifest.digest;
const spdx = "application/spdx+json";

let directory: string;
let cache: BytecodeCache;
let store: Store;

beforeEach(async () => {
  directory = temporaryDirectory();
  cache = await openTestCache({ directory });
  store = Store.open({ directory });
  afterThisTest(() => store.close());
  afterThisTest(() => expect(checkClosure(directory)).toEqual([]));
});

/** Takes images in by their references, and leaves the cache as it is after that. */
async function seed(images: Readonly<Record<string, TestRoot>>): Promise<void> {
  const layout = temporaryDirectory();
  writeLayout(
    layout,
    Object.entries(images).map(([name, root]) => ({ name, root })),
  );
  const { failed } = await cache.seed([layout], { overwrite: true });
  expect(failed).toEqual([]);
}

function digestsOf(manifest = subject): string[] {
  return store.referrersOf(manifest).map(({ digest }) => digest);
}

describe("what refers to an image", () => {
  it("is found by its subject, with what is known of it", async () => {
    await seed({ "r.example/a:v1": signed });
    const signature = publishedReferrer(subject, { tag: "sha256-x.sig", annotations: { by: "me" } });
    expect(store.putReferrers(subject, [signature])).toEqual([]);
    expect(store.referrersOf(subject)).toEqual([JSON.parse(JSON.stringify(signature.record))]);
    expect(store.manifest(signature.record.digest)?.bytes).toEqual(signature.manifest);
    const [, layer] = signature.record.blobs;
    expect(layer && store.blob("layer", layer.digest)).toEqual(signature.blobs[1]);
  });

  it("is no image: list does not show it, and its digest names none", async () => {
    await seed({ "r.example/a:v1": signed });
    const { record, ...rest } = publishedReferrer(subject);
    store.putReferrers(subject, [{ record, ...rest }]);
    expect(cache.list().map(({ reference }) => reference)).toEqual(["r.example/a:v1"]);
    const named = parseReference(`r.example/a@${record.digest}`);
    expect(store.find(named, parsePlatform("linux/amd64"))).toBeUndefined();
  });

  it("leaves no row behind when its subject goes", async () => {
    await seed({ "r.example/a:v1": signed });
    store.putReferrers(subject, [
      publishedReferrer(subject),
      publishedReferrer(subject, { artifactType: spdx }),
    ]);
    cache.remove("r.example/a:v1");
    store.close();
    await cache.close();
    expect(rowsIn(directory)).toEqual({});
  });

  it("frees its bytes with its subject's", async () => {
    await seed({ "r.example/a:v1": signed });
    const { bytesFreed: without } = cache.remove("r.example/a:v1");
    await seed({ "r.example/a:v1": signed });
    const signature = publishedReferrer(subject);
    store.putReferrers(subject, [signature]);
    const { bytesFreed } = cache.remove("r.example/a:v1");
    const own = [signature.manifest, ...signature.blobs].reduce((sum, { length }) => sum + length, 0);
    expect(bytesFreed - without).toBe(own + 3 + mediaTypes.ociManifest.length);
  });

  it("stays while any reference needs its subject", async () => {
    await seed({ "r.example/a:v1": signed, "r.example/b:v1": imageIndex([{ image: signed }]) });
    store.putReferrers(subject, [publishedReferrer(subject)]);
    cache.remove("r.example/a:v1");
    expect(digestsOf()).toHaveLength(1);
    cache.remove("r.example/b:v1");
    expect(digestsOf()).toEqual([]);
  });

  it("goes when a reference moves on to another image", async () => {
    await seed({ "r.example/a:v1": signed });
    store.putReferrers(subject, [publishedReferrer(subject)]);
    await seed({ "r.example/a:v1": other });
    expect(digestsOf()).toEqual([]);
  });

  it("leaves what others need: a config and a layer that two have in common", async () => {
    await seed({ "r.example/a:v1": signed, "r.example/b:v1": other });
    const here = publishedReferrer(subject);
    const there = publishedReferrer(other.manifest.digest);
    store.putReferrers(subject, [here]);
    store.putReferrers(other.manifest.digest, [there]);
    expect(here.record.blobs).toEqual(there.record.blobs);
    cache.remove("r.example/a:v1");
    const [, layer] = there.record.blobs;
    expect(layer && store.blob("layer", layer.digest)).toBeDefined();
  });

  it("may itself be referred to, and takes that with it", async () => {
    await seed({ "r.example/a:v1": signed });
    const sbom = publishedReferrer(subject, { artifactType: spdx });
    const signature = publishedReferrer(sbom.record.digest);
    store.putReferrers(subject, [sbom]);
    store.putReferrers(sbom.record.digest, [signature]);
    expect(cache.inspect("r.example/a:v1").referrers.map(({ digest }) => digest)).toEqual([
      sbom.record.digest,
      signature.record.digest,
    ]);
    cache.remove("r.example/a:v1");
    expect([digestsOf(), digestsOf(sbom.record.digest)]).toEqual([[], []]);
  });

  it("is not kept with what is not here", () => {
    expect(store.putReferrers(subject, [publishedReferrer(subject)])).toEqual([]);
    expect(digestsOf()).toEqual([]);
  });

  it("put twice is there once, and keeps the tag it was found by", async () => {
    await seed({ "r.example/a:v1": signed });
    store.putReferrers(subject, [publishedReferrer(subject, { tag: "sha256-x.sig" })]);
    store.putReferrers(subject, [publishedReferrer(subject)]);
    expect(store.referrersOf(subject).map(({ tag }) => tag)).toEqual(["sha256-x.sig"]);
  });

  it("under a tag is followed by what the tag moves to", async () => {
    await seed({ "r.example/a:v1": signed });
    const tag = "sha256-x.sig";
    store.putReferrers(subject, [
      publishedReferrer(subject, { tag }),
      publishedReferrer(subject, { artifactType: spdx }),
    ]);
    const moved = publishedReferrer(subject, { tag, annotations: { second: "yes" } });
    store.putReferrers(subject, [moved]);
    expect(store.referrersOf(subject).map((record) => [record.tag, record.digest])).toEqual([
      [undefined, expect.any(String)],
      [tag, moved.record.digest],
    ]);
  });
});

describe("what refers to itself", () => {
  it("is left out, for it would never go: the image as its own signature", async () => {
    await seed({ "r.example/a:v1": signed });
    const { record, ...rest } = publishedReferrer(subject);
    const itself = { ...rest, record: { ...record, digest: subject } };
    expect(store.putReferrers(subject, [itself])).toEqual([itself]);
    cache.remove("r.example/a:v1");
    expect(store.manifest(subject)).toBeUndefined();
  });

  it("is left out over several steps, and over several pulls", async () => {
    await seed({ "r.example/a:v1": signed, "r.example/b:v1": other });
    const as = (digest: typeof subject, about: typeof subject) => {
      const { record, ...rest } = publishedReferrer(about);
      return { ...rest, record: { ...record, digest, blobs: [] }, blobs: [] };
    };
    const sbom = publishedReferrer(other.manifest.digest, { artifactType: spdx });
    store.putReferrers(other.manifest.digest, [sbom]);
    const back = as(other.manifest.digest, sbom.record.digest);
    expect(store.putReferrers(sbom.record.digest, [back])).toEqual([back]);
  });
});

describe("an image that refers to another one", () => {
  /** An image in its own right that says that it belongs to `signed`. */
  const variant = imageNamed("variant", {
    editManifest: (manifest) => ({
      ...manifest,
      subject: { mediaType: mediaTypes.ociManifest, digest: subject, size: signed.manifest.size },
    }),
  });

  function asReferrer() {
    const { record } = publishedReferrer(subject);
    const { manifest, config, layers } = variant;
    const entryOf = ({ digest, mediaType, size }: typeof config) => ({ digest, mediaType, size });
    return {
      record: {
        ...record,
        ...entryOf(manifest),
        blobs: [
          { kind: "config" as const, ...entryOf(config) },
          ...layers.map((layer) => ({ kind: "layer" as const, ...entryOf(layer) })),
        ],
      },
      manifest: manifest.bytes,
      blobs: [config, ...layers].map(({ bytes }) => bytes),
    };
  }

  it("stays an image when the other one goes", async () => {
    await seed({ "r.example/a:v1": signed, "r.example/a:debug": variant });
    store.putReferrers(subject, [asReferrer()]);
    cache.remove("r.example/a:v1");
    expect(cache.bytecode("r.example/a:debug").programs[0]?.name).toBe("variant");
  });

  it("is found by its digest, though the other one holds it too", async () => {
    await seed({ "r.example/a:v1": signed, "r.example/a:debug": variant });
    store.putReferrers(subject, [asReferrer()]);
    const { digest } = variant.manifest;
    expect(cache.inspect(`r.example/elsewhere@${digest}`).source).toBe("layout");
  });

  it("stays with the other one when it goes as an image, and is none any more", async () => {
    await seed({ "r.example/a:v1": signed, "r.example/a:debug": imageIndex([{ image: variant }]) });
    store.putReferrers(subject, [asReferrer()]);
    cache.remove("r.example/a:debug");
    expect(cache.list().map(({ reference }) => reference)).toEqual(["r.example/a:v1"]);
    expect(store.image(variant.manifest.digest)).toBeUndefined();
    expect(digestsOf()).toEqual([variant.manifest.digest]);
    expect(checkClosure(directory)).toEqual([]);
    cache.remove("r.example/a:v1");
    expect(store.manifest(variant.manifest.digest)).toBeUndefined();
  });

  it("becomes one when it is taken in", async () => {
    await seed({ "r.example/a:v1": signed });
    store.putReferrers(subject, [asReferrer()]);
    await seed({ "r.example/a:debug": variant });
    expect(cache.bytecode("r.example/a:debug").programs[0]?.name).toBe("variant");
    expect(checkClosure(directory)).toEqual([]);
    cache.remove("r.example/a:v1");
    cache.remove("r.example/a:debug");
  });
});

describe("a repository", () => {
  it("has the documents about its images, and about those, and no other's", async () => {
    await seed({ "r.example/a:v1": signed, "r.example/b:v1": other });
    const sbom = publishedReferrer(subject, { artifactType: spdx });
    const signature = publishedReferrer(sbom.record.digest, {
      layers: [{ mediaType: "application/cose", bytes: "signature" }],
    });
    store.putReferrers(subject, [sbom]);
    store.putReferrers(sbom.record.digest, [signature]);
    const [, layer] = signature.record.blobs;
    if (layer === undefined) throw new Error("the signature has no layer");
    for (const [name, isThere] of [
      ["r.example/a", true],
      ["r.example/b", false],
    ] as const) {
      expect(store.belongsTo(name, "manifest", sbom.record.digest)).toBe(isThere);
      expect(store.belongsTo(name, "manifest", signature.record.digest)).toBe(isThere);
      expect(store.belongsTo(name, "layer", layer.digest)).toBe(isThere);
    }
  });
});
