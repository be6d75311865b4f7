import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BytecodeCache } from "../../src/cache.js";
import { digestOf } from "../../src/core/digest.js";
import { openCache } from "../../src/open-cache.js";
import { contentBytes, recountBytes } from "../../src/store/content-bytes.js";
import { Environment } from "../../src/store/environment.js";
import type { RootRecord } from "../../src/store/records.js";
import { putReferrers } from "../../src/store/referrers.js";
import type { TreeName } from "../../src/store/trees.js";
import { decodeRecord, encodeCount, encodeRecord } from "../../src/store/values.js";
import { bytecodeImage, imageIndex, minimalBpfElf, writeLayout } from "../support/image-builder.js";
import { publishedReferrer } from "../support/referrer.js";
import { checkClosure } from "./check-closure.js";
import { TemporaryDirectory } from "./processes.js";

describe("the check that a cache has all it needs and nothing else", () => {
  const directory = new TemporaryDirectory();
  const platform = "linux/amd64";
  let cache: BytecodeCache;
  let environment: Environment;

  beforeAll(async () => {
    const bytes = minimalBpfElf({ maps: [{ name: "counts" }] });
    const image = bytecodeImage({ objects: [{ path: "a.o", bytes }] });
    const index = imageIndex([{ image }, { image: bytecodeImage({ platform: "linux/arm64" }) }]);
    const layout = directory.join("layout");
    writeLayout(layout, [
      { name: "registry.example/a:v1", root: index },
      { name: "registry.example/b:v1", root: image },
    ]);
    cache = await openCache({ directory: directory.join("cache"), platform });
    await cache.seed([layout]);
    cache.pin("registry.example/a:v1");
    environment = Environment.open({ directory: cache.directory });
    const sbom = publishedReferrer(image.manifest.digest, { artifactType: "application/spdx+json" });
    putReferrers(environment, image.manifest.digest, [sbom]);
    putReferrers(environment, sbom.record.digest, [publishedReferrer(sbom.record.digest)]);
  });

  afterAll(async () => {
    environment.close();
    await cache.close();
    directory[Symbol.dispose]();
  });

  const derived: readonly TreeName[] = [
    "refs",
    "roots",
    "manifests",
    "configs",
    "layers",
    "images",
    "objects",
    "objectInfo",
    "byProgram",
    "byMap",
    "referrers",
    "heldBy",
  ];

  it("finds nothing wrong with a cache as it is published", () => {
    expect(checkClosure(cache.directory)).toEqual([]);
  });

  it("finds nothing wrong where there is no cache", () => {
    expect(checkClosure(directory.join("layout"))).toEqual([]);
  });

  it.each(derived)("misses any row that is taken from %s", (name) => {
    for (const row of environment.tree(name).entries()) {
      environment.commit(() => environment.tree(name).remove(row.key));
      expect(checkClosure(cache.directory), row.key.toString("hex")).not.toEqual([]);
      environment.commit(() => environment.tree(name).put(row.key, row.value));
    }
  });

  it("misses a time of use and its place in the order", () => {
    const rows = environment
      .tree("usage")
      .entries()
      .filter(({ key }) => !key.toString("latin1").startsWith("pin"));
    expect(rows).toHaveLength(2);
    for (const row of rows) {
      environment.commit(() => environment.tree("usage").remove(row.key));
      expect(checkClosure(cache.directory), row.key.toString("hex")).not.toEqual([]);
      environment.commit(() => environment.tree("usage").put(row.key, row.value));
    }
  });

  it("finds a total that is not that of the content", () => {
    const total = environment.snapshot(() => contentBytes(environment));
    environment.commit(() =>
      environment.tree("meta").put(Buffer.from("contentBytes"), encodeCount(total + 1)),
    );
    expect(checkClosure(cache.directory)).toEqual([expect.stringContaining(`${total + 1} are counted`)]);
    environment.commit(() => recountBytes(environment));
    expect(checkClosure(cache.directory)).toEqual([]);
  });

  it.each([...derived.slice(1), "usage" as const])("finds a row in %s that nothing needs", (name) => {
    const [row] = environment.tree(name).entries();
    if (row === undefined) throw new Error(`${name} is empty`);
    // Another digest where the key begins with one: what it names is not here.
    const key = Buffer.from(row.key);
    key.writeUInt8(key.readUInt8(8) ^ 1, 8);
    const value =
      name === "roots"
        ? encodeRecord({ ...decodeRecord<RootRecord>(row.value), chain: [digestOf(Buffer.of(0))] })
        : row.value;
    environment.commit(() => environment.tree(name).put(key, value));
    expect(checkClosure(cache.directory)).not.toEqual([]);
    environment.commit(() => environment.tree(name).remove(key));
  });

  it.each(["manifests", "configs", "layers", "objects"] as const)(
    "finds a value in %s that has changed",
    (name) => {
      const [row] = environment.tree(name).entries();
      if (row === undefined) throw new Error(`${name} is empty`);
      const changed = Buffer.from(row.value);
      changed.writeUInt8(changed.readUInt8(changed.length - 1) ^ 1, changed.length - 1);
      environment.commit(() => environment.tree(name).put(row.key, changed));
      expect(checkClosure(cache.directory)).not.toEqual([]);
      environment.commit(() => environment.tree(name).put(row.key, row.value));
    },
  );
});
