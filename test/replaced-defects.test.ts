import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { BytecodeCache } from "../src/cache.js";
import { type Digest, digestOf } from "../src/core/digest.js";
import { openReader } from "../src/reader.js";
import { Environment } from "../src/store/environment.js";
import { digestKey } from "../src/store/keys.js";
import { decodeManifest } from "../src/store/values.js";
import {
  asked,
  failureOf,
  imageNamed,
  openTestCache,
  rowsIn,
  startRegistry,
  temporaryDirectory,
  timesAsked,
} from "./pull/support.js";
import {
  bytecodeImage,
  content,
  gzip,
  imageIndex,
  layerOf,
  minimalBpfElf,
  type TestImage,
  type TestRoot,
  tarOf,
} from "./support/image-builder.js";
import type { TestRegistry } from "./support/test-registry.js";

// Every defect that was found in bpfman's image store, in Rust on sled and in Go on files, has a test here that is
// named after what bpfcache does instead. bpfman/src/oci_utils/image_manager.rs and platform/ are what to compare with.

const first = imageNamed("first");
const second = imageNamed("second");
const firstObject = minimalBpfElf({ programs: [{ name: "first" }] });
const readme = { path: "README", bytes: Buffer.from("not the object") };
const file = { path: "program.o", bytes: firstObject };

async function withImages(images: Readonly<Record<string, TestRoot>>) {
  const registry = await startRegistry();
  for (const [name, image] of Object.entries(images)) registry.add(name, image);
  return { registry, cache: await openTestCache(), reference: (name: string) => registry.reference(name) };
}

async function pulled(image: TestRoot) {
  const { registry, cache, reference } = await withImages({ "org/prog:v1": image });
  const result = await cache.pull(reference("org/prog:v1"));
  return { registry, cache, result, reference: reference("org/prog:v1") };
}

/** What a loader gets. */
function objectOf(cache: BytecodeCache, reference: string): Buffer {
  return Buffer.from(cache.bytecode(reference).bytes);
}

function inDatabase<T>(cache: BytecodeCache, use: (environment: Environment) => T, readOnly = true): T {
  const environment = Environment.open({ directory: cache.directory, readOnly });
  try {
    return use(environment);
  } finally {
    environment.close();
  }
}

describe("what a reference means", () => {
  it("a digest beats a tag", async () => {
    const { registry, cache, reference } = await pulled(first);
    registry.add("org/prog", second);
    const pinned = `${reference}@${second.root.digest}`;
    await cache.pull(pinned, { pullPolicy: "IfNotPresent" });
    expect(objectOf(cache, pinned)).not.toEqual(firstObject);
    expect(cache.bytecode(pinned).rootDigest).toBe(second.root.digest);
  });

  it("a loader that asks for a digest never gets what its tag means", async () => {
    const { cache, reference } = await pulled(first);
    expect(() => cache.bytecode(`${reference}@${second.root.digest}`)).toThrow(
      expect.objectContaining({ code: "NOT_CACHED" }),
    );
  });

  it.each([
    ["a/b_c and a_b/c", "a/b_c:v1", "a_b/c:v1"],
    ["a/b/c and a_b_c", "a/b/c:v1", "a_b_c:v1"],
    ["a/b and a_b", "a/b:v1", "a_b:v1"],
    ["a tag and a tag with a suffix of the old keys", "a/b:v1", "a/b:v1manifest.json"],
    ["a tag and the tag that begins with it", "a/b:v1", "a/b:v10"],
    ["a tag and a repository that ends like it", "a/b_v1:latest", "a/b:v1_latest"],
  ])("%s are different images", async (_, one, other) => {
    const { cache, reference } = await withImages({ [one]: first, [other]: second });
    await cache.prefetch([reference(one), reference(other)]);
    expect(cache.bytecode(reference(one)).rootDigest).toBe(first.root.digest);
    expect(cache.bytecode(reference(other)).rootDigest).toBe(second.root.digest);
  });

  it("removing a tag leaves the tag that begins with it", async () => {
    const { cache, reference } = await withImages({ "a/b:v1": first, "a/b:v10": second });
    await cache.prefetch([reference("a/b:v1"), reference("a/b:v10")]);
    cache.remove(reference("a/b:v1"));
    expect(cache.list().map((image) => image.reference)).toEqual([reference("a/b:v10")]);
  });

  it("root and manifest digests, platform and times are kept", async () => {
    const index = imageIndex([{ image: first }]);
    const before = Date.now();
    const { result } = await pulled(index);
    const { rootDigest, manifestDigest, platform, pulledAt } = result;
    expect({ rootDigest, manifestDigest, platform }).toEqual({
      rootDigest: index.root.digest,
      manifestDigest: first.root.digest,
      platform: "linux/amd64",
    });
    expect(Date.parse(pulledAt)).toBeGreaterThanOrEqual(before);
  });

  it("images for other hosts are kept beside this one's", async () => {
    const arm64 = imageNamed("arm", { platform: "linux/arm64" });
    const { cache, reference } = await pulled(imageIndex([{ image: first }, { image: arm64 }]));
    await cache.pull(reference, { platform: "linux/arm64" });
    expect(cache.list().map(({ platform }) => platform)).toEqual(["linux/amd64", "linux/arm64"]);
  });
});

describe("what is kept, and how often", () => {
  it.each([
    ["index", (index: TestRoot) => index.root],
    ["manifest", () => first.manifest],
  ])("the %s is kept byte for byte", async (_, pick) => {
    // Neither order of members nor white space is what a serializer would write.
    const spaced = (json: unknown) => JSON.parse(JSON.stringify(json, null, 3));
    const index = imageIndex([{ image: first }], {
      editIndex: ({ manifests, ...rest }) => spaced({ manifests, ...rest }),
    });
    const { cache } = await pulled(index);
    await cache.close();
    const kept = inDatabase(cache, (environment) =>
      environment.tree("manifests").get(digestKey(pick(index).digest)),
    );
    expect(decodeManifest(kept ?? Buffer.alloc(0)).bytes).toEqual(pick(index).bytes);
  });

  it("two tags of one image cost one copy", async () => {
    const { cache, reference } = await withImages({ "org/prog:v1": first, "org/prog:v2": first });
    await cache.pull(reference("org/prog:v1"));
    await cache.pull(reference("org/prog:v2"));
    await cache.close();
    expect(rowsIn(cache.directory)).toMatchObject({
      refs: 2,
      manifests: 1,
      configs: 1,
      layers: 1,
      objects: 1,
    });
  });

  it("one image in two repositories costs one copy", async () => {
    const { cache, reference } = await withImages({ "org/prog:v1": first, "copy/of:v1": first });
    await cache.pull(reference("org/prog:v1"));
    await cache.pull(reference("copy/of:v1"));
    await cache.close();
    expect(rowsIn(cache.directory)).toMatchObject({ refs: 2, manifests: 1, layers: 1, objects: 1 });
  });

  it("one object in two layers costs one copy", async () => {
    const other = bytecodeImage({ entries: [readme, file] });
    const { cache, reference } = await withImages({ "org/prog:v1": first, "org/prog:v2": other });
    await cache.prefetch([reference("org/prog:v1"), reference("org/prog:v2")]);
    await cache.close();
    expect(rowsIn(cache.directory)).toMatchObject({ layers: 2, objects: 1 });
  });

  it("a moved tag frees the old image", async () => {
    const { registry, cache, reference } = await pulled(first);
    registry.add("org/prog:v1", second);
    await cache.pull(reference, { pullPolicy: "Always" });
    await cache.close();
    const [moved, fresh] = [rowsIn(cache.directory), await rowsAfterPulling(second)];
    expect(moved).toEqual(fresh);
    expect(inDatabase(cache, (environment) => held(environment, first))).toEqual([]);
  });

  it("a moved tag keeps of the old image what another tag needs", async () => {
    const { registry, cache, reference } = await pulled(first);
    registry.add("org/prog:keep", first);
    const kept = registry.reference("org/prog:keep");
    await cache.pull(kept);
    registry.add("org/prog:v1", second);
    await cache.pull(reference, { pullPolicy: "Always" });
    expect(objectOf(cache, kept)).toEqual(firstObject);
  });

  it("a removed image leaves nothing", async () => {
    const { cache, reference } = await pulled(imageIndex([{ image: first }]));
    cache.remove(reference);
    await cache.close();
    expect(rowsIn(cache.directory)).toEqual({});
  });

  it("a cache whose last image was removed opens again", async () => {
    const { cache, reference } = await pulled(first);
    cache.remove(reference);
    await cache.close();
    expect((await openTestCache({ directory: cache.directory })).list()).toEqual([]);
  });

  it("an image with fewer programs leaves nothing of the longer one before it", async () => {
    const [many, few] = [imageWith(14), imageWith(2)];
    const { registry, cache, reference } = await pulled(many);
    registry.add("org/prog:v1", few);
    await cache.pull(reference, { pullPolicy: "Always" });
    await cache.close();
    expect(rowsIn(cache.directory)).toMatchObject({ byProgram: 2, byMap: 2 });
  });

  async function rowsAfterPulling(image: TestImage) {
    const { cache } = await pulled(image);
    await cache.close();
    return rowsIn(cache.directory);
  }

  /** The digests of an image's parts that are in the database. */
  function held(environment: Environment, { manifest, config, layers }: TestImage): Digest[] {
    const trees = ["manifests", "configs", "layers"] as const;
    return [manifest, config, ...layers]
      .map(({ digest }) => digest)
      .filter((digest) => trees.some((tree) => environment.tree(tree).has(digestKey(digest))));
  }
});

describe("order", () => {
  const names = (of: readonly { readonly name: string }[] | undefined) => of?.map(({ name }) => name);
  const programs = Array.from({ length: 14 }, (_, i) => `program${i}`);
  const maps = Array.from({ length: 14 }, (_, i) => `map${i}`);

  it("11 and more programs stay in order", async () => {
    const { cache, reference } = await pulled(imageWith(14));
    expect(names(cache.bytecode(reference).programs)).toEqual(programs);
  });

  it("11 and more maps stay in order", async () => {
    const { cache, reference } = await pulled(imageWith(14));
    expect(names(cache.inspect(reference).objects[0]?.maps)).toEqual(maps);
  });

  it("11 and more objects stay in order", async () => {
    const objects = programs.map((name) => ({
      path: `${name}.o`,
      bytes: minimalBpfElf({ programs: [{ name }] }),
    }));
    const { result } = await pulled(bytecodeImage({ objects }));
    expect(names(result.objects)).toEqual(programs.map((name) => `${name}.o`));
  });

  it("numbers in the database are the same on every host: big-endian", async () => {
    const before = BigInt(Date.now());
    const { cache } = await pulled(first);
    await cache.close();
    const used = inDatabase(cache, (environment) =>
      environment.tree("usage").get(digestKey(first.root.digest)),
    );
    expect(used?.readBigUInt64BE(1)).toBeGreaterThanOrEqual(before);
    expect(used?.readBigUInt64BE(1)).toBeLessThanOrEqual(BigInt(Date.now()));
  });
});

describe("all or nothing", () => {
  it("a bad label poisons nothing", async () => {
    const bad = imageNamed("first", { labels: { "io.ebpf.programs": "{not json", "io.ebpf.maps": "{}" } });
    const { registry, cache, reference } = await withImages({ "org/prog:v1": bad });
    expect((await failureOf(cache.pull(reference("org/prog:v1")))).code).toBe("INVALID_IMAGE");
    registry.add("org/prog:v1", first);
    await cache.pull(reference("org/prog:v1"), { pullPolicy: "IfNotPresent" });
    expect(objectOf(cache, reference("org/prog:v1"))).toEqual(firstObject);
  });

  it.each([
    ["the config", () => first.config.digest],
    ["the layer", () => first.layers[0]?.digest ?? ""],
  ])("an image without %s is no hit", async (_, missing) => {
    const { registry, cache, reference } = await withImages({ "org/prog:v1": first });
    const repair = registry.break({ path: missing() }, { status: 404 });
    expect((await failureOf(cache.pull(reference("org/prog:v1")))).code).toBe("NOT_FOUND");
    repair();
    expect((await cache.pull(reference("org/prog:v1"))).from).toBe("registry");
  });

  it.each([
    ["cannot be fetched", { status: 404 }, second],
    ["is not what was named", { body: Buffer.alloc(second.layers[0]?.size ?? 0) }, second],
    ["is no bytecode", {}, imageNamed("third", { entries: [readme] })],
    ["is for another machine", {}, imageOf(minimalBpfElf({ machine: 62 }))],
  ])("a failed pull leaves what was there, when the new image %s", async (_, fault, image) => {
    const { registry, cache, reference } = await pulled(first);
    const before = JSON.stringify(cache.list());
    registry.add("org/prog:v1", image);
    registry.break({ path: image.layers[0]?.digest ?? "" }, fault);
    await failureOf(cache.pull(reference, { pullPolicy: "Always" }));
    expect(JSON.stringify(cache.list())).toBe(before);
    expect(objectOf(cache, reference)).toEqual(firstObject);
  });

  it("a reader finds the old image or the new one, never the programs of one with the bytes of the other", async () => {
    const { registry, cache, reference } = await pulled(first);
    const reader = openReader({ directory: cache.directory });
    for (const image of [second, first, second]) {
      registry.add("org/prog:v1", image);
      await cache.pull(reference, { pullPolicy: "Always" });
      const { bytes, digest, programs, rootDigest } = reader.bytecode(reference, { platform: "linux/amd64" });
      expect(digestOf(bytes)).toBe(digest);
      expect(Buffer.from(bytes)).toEqual(minimalBpfElf({ programs: [{ name: programs[0]?.name ?? "" }] }));
      expect(rootDigest).toBe(image.root.digest);
    }
    reader.close();
  });
});

describe("asking the registry", () => {
  it("manifest and config are asked for once", async () => {
    const { registry } = await pulled(first);
    expect([timesAsked(registry, "/manifests/"), timesAsked(registry, first.config.digest)]).toEqual([1, 1]);
  });

  it("a tag that moves in between mixes no two images", async () => {
    const { registry, cache, reference } = await withImages({ "org/prog:v1": first });
    const name = reference("org/prog:v1");
    await cache.pull(name, {
      onEvent: ({ event }) => event === "resolved" && registry.add("org/prog:v1", second),
    });
    expect([cache.bytecode(name).rootDigest, objectOf(cache, name)]).toEqual([
      first.root.digest,
      firstObject,
    ]);
  });

  it("layers that come in another order keep their digests", async () => {
    const image = bytecodeImage({ layers: [...first.layers, ...second.layers] });
    const { registry, cache, reference } = await withImages({ "org/prog:v1": image });
    registry.break({ path: first.layers[0]?.digest ?? "" }, { delayMs: 50 });
    await cache.pull(reference("org/prog:v1"));
    const { objects } = cache.inspect(reference("org/prog:v1"));
    expect(objects.map(({ name, layerDigest }) => [name, layerDigest])).toEqual([
      ["first.o", first.layers[0]?.digest],
      ["second.o", second.layers[0]?.digest],
    ]);
  });

  it("an image of many programs is asked for once, not once a program", async () => {
    const { registry, cache, reference } = await pulled(imageWith(14));
    registry.forget();
    for (let i = 0; i < 14; i++) cache.bytecode(reference, { program: `program${i}` });
    expect(asked(registry)).toEqual([]);
  });

  it("a tag that may have moved is asked about with one request", async () => {
    const { registry, cache, reference } = await pulled(first);
    registry.forget();
    await cache.pull(reference, { pullPolicy: "Always" });
    expect(asked(registry)).toEqual(["GET manifest 304"]);
  });
});

describe("what is in a layer", () => {
  it.each([
    [
      "a directory entry first in the tar is not the object",
      [{ path: "./", type: "directory" as const }, file],
    ],
    ["a README first in the tar is not the object", [readme, file]],
    [
      "an object in a directory is found",
      [
        { path: "opt/", type: "directory" as const },
        { ...file, path: "opt/x.o" },
      ],
    ],
    ["an object without .o in its name is found", [{ ...file, path: "program" }]],
    ["an empty file first in the tar is not the object", [{ path: "empty.o" }, file]],
  ])("%s", async (_, entries) => {
    const { cache, reference } = await pulled(bytecodeImage({ entries }));
    expect(objectOf(cache, reference)).toEqual(firstObject);
  });

  it("several entries are several objects, and the one meant is chosen", async () => {
    const objects = ["one", "two"].map((name) => ({
      path: `${name}.o`,
      bytes: minimalBpfElf({ programs: [{ name }] }),
    }));
    const { cache, reference } = await pulled(bytecodeImage({ objects }));
    expect(Buffer.from(cache.bytecode(reference, { object: "two.o" }).bytes)).toEqual(objects[1]?.bytes);
    expect(Buffer.from(cache.bytecode(reference, { program: "one" }).bytes)).toEqual(objects[0]?.bytes);
  });

  it("several objects and no choice is an error that names them", async () => {
    const objects = ["one", "two"].map((name) => ({
      path: `${name}.o`,
      bytes: minimalBpfElf({ programs: [{ name }] }),
    }));
    const { cache, reference } = await pulled(bytecodeImage({ objects }));
    expect(() => cache.bytecode(reference)).toThrow(
      expect.objectContaining({ code: "USAGE", found: expect.stringMatching(/one\.o.*two\.o/) }),
    );
  });

  it("objects of all layers are found", async () => {
    const { result } = await pulled(bytecodeImage({ layers: [...first.layers, ...second.layers] }));
    expect(result.objects.map(({ name }) => name)).toEqual(["first.o", "second.o"]);
  });

  it("a layer may be a tar that is not compressed", async () => {
    const { cache, reference } = await pulled(bytecodeImage({ entries: [file], compression: "none" }));
    expect(objectOf(cache, reference)).toEqual(firstObject);
  });

  it("a program the image does not have is an error that names those it has", async () => {
    const { cache, reference } = await pulled(first);
    expect(() => cache.bytecode(reference, { program: "nothing" })).toThrow(
      expect.objectContaining({ code: "USAGE", found: expect.stringContaining("first") }),
    );
  });

  it.each([
    ["an object for another machine", minimalBpfElf({ machine: 62 })],
    ["an executable", minimalBpfElf({ type: 2 })],
    ["a text", Buffer.from("#!/bin/sh\n")],
  ])("%s is not taken for bytecode", async (_, bytes) => {
    expect(await codeOf(imageOf(bytes))).toBe("INVALID_IMAGE");
  });

  it("an object of the other byte order is an error", async () => {
    expect(await codeOf(imageOf(minimalBpfElf({ order: "big" })))).toBe("PLATFORM_MISMATCH");
  });
});

describe("errors instead of crashes", () => {
  const gzipped = gzip(tarOf([file]));
  const flipped = Buffer.from(gzipped);
  flipped.writeUInt8((flipped[40] ?? 0) ^ 0xff, 40);
  const asLayer = (bytes: Buffer) =>
    bytecodeImage({ layers: [content(bytes, "application/vnd.oci.image.layer.v1.tar+gzip")] });

  it.each([
    ["corrupt gzip is an error, not a crash", asLayer(flipped)],
    ["gzip that is cut short is an error, not a crash", asLayer(gzipped.subarray(0, -10))],
    ["a corrupt tar is an error, not a crash", asLayer(gzip(Buffer.alloc(2048, "x")))],
    ["a layer that is neither gzip nor zstd nor tar is an error, not a crash", asLayer(Buffer.from("hello"))],
  ])("%s", async (_, image) => {
    expect(await codeOf(image)).toBe("INVALID_IMAGE");
  });

  it("a layer that inflates without end is an error, not an exhausted memory", async () => {
    const layer = layerOf(tarOf([{ path: "zeros", bytes: Buffer.alloc(8 * 1024 * 1024) }]));
    expect(await codeOf(bytecodeImage({ layers: [layer] }), { inflatedBytes: 1024 * 1024 })).toBe(
      "INVALID_IMAGE",
    );
  });

  it("an object over the limit is an error", async () => {
    const bytes = Buffer.concat([firstObject, Buffer.alloc(2048)]);
    expect(await codeOf(imageOf(bytes), { objectBytes: 2048 })).toBe("INVALID_IMAGE");
  });

  it("digest mismatch is an error", async () => {
    const { registry, cache, reference } = await withImages({ "org/prog:v1": first });
    const { digest = "", size = 0 } = first.layers[0] ?? {};
    registry.break({ path: digest }, { body: Buffer.alloc(size) });
    const failure = await failureOf(cache.pull(reference("org/prog:v1")));
    expect([failure.code, failure.expected, failure.found]).toEqual([
      "DIGEST_MISMATCH",
      digest,
      digestOf(Buffer.alloc(size)),
    ]);
  });

  it("an object that was damaged in the database is an error, and none of it reaches a loader", async () => {
    const { cache, reference } = await pulled(first);
    await cache.close();
    damage(cache, "objects", digestOf(firstObject));
    const later = await openTestCache({ directory: cache.directory });
    expect(() => later.bytecode(reference)).toThrow(
      expect.objectContaining({ code: "CACHE_CORRUPT", expected: digestOf(firstObject) }),
    );
  });

  it("a view of an object that was damaged in the database is never handed out", async () => {
    const { cache, reference } = await pulled(first);
    await cache.close();
    damage(cache, "objects", digestOf(firstObject));
    const later = await openTestCache({ directory: cache.directory });
    let calls = 0;
    expect(() => later.withBytecode(reference, () => calls++)).toThrow();
    expect(calls).toBe(0);
  });

  it("a layer that was damaged in the database is fetched again for the image that needs it", async () => {
    const sibling = bytecodeImage({ layers: first.layers, labels: { name: "sibling" } });
    const { registry, cache } = await pulled(first);
    await cache.close();
    damage(cache, "layers", first.layers[0]?.digest ?? digestOf(firstObject));
    registry.add("org/other:v1", sibling);
    const later = await openTestCache({ directory: cache.directory });
    expect((await later.pull(registry.reference("org/other:v1"))).requests).toBe(3);
  });

  it("a loader reads the object itself: nothing is unpacked for it", async () => {
    const { cache, reference } = await pulled(first);
    await cache.close();
    damage(cache, "layers", first.layers[0]?.digest ?? digestOf(firstObject));
    const later = await openTestCache({ directory: cache.directory });
    expect(objectOf(later, reference)).toEqual(firstObject);
  });

  /** Changes one byte of a value, as a bad disk would. */
  function damage(cache: BytecodeCache, tree: "objects" | "layers", digest: Digest): void {
    inDatabase(
      cache,
      (environment) => {
        const value = environment.tree(tree).get(digestKey(digest));
        if (value === undefined) throw new Error(`${digest} is not in ${tree}`);
        value.writeUInt8((value[100] ?? 0) ^ 1, 100);
        environment.commit(() => environment.tree(tree).put(digestKey(digest), value));
      },
      false,
    );
  }
});

describe("no credential is in the database file", () => {
  const [username, password] = ["credential-user", "credential-password"];
  const login = Buffer.from(`${username}:${password}`).toString("base64");

  async function afterLogin(auth: "basic" | "bearer", entry: object) {
    const registry = await startRegistry({ auth: { type: auth, username, password } });
    registry.add("org/prog:v1", first);
    const authFile = join(temporaryDirectory(), "auth.json");
    writeFileSync(authFile, JSON.stringify({ auths: { [registry.host]: entry } }));
    const cache = await openTestCache({ authFile });
    await cache.pull(registry.reference("org/prog:v1"));
    await cache.pull(registry.reference("org/prog:v1"), { pullPolicy: "Always" });
    await cache.close();
    return { registry, cache };
  }

  /** What was sent as proof, without the scheme in front of it. */
  function proofs(registry: TestRegistry): string[] {
    const sent = registry.requests.map(({ headers }) => headers.authorization?.split(" ")[1]);
    return [...new Set(sent.filter((proof) => proof !== undefined))];
  }

  it.each([
    ["Basic", "basic", { auth: login }, 1],
    ["Bearer", "bearer", { auth: login }, 2],
    ["Bearer bought with an identity token", "bearer", { identitytoken: password }, 1],
  ] as const)("%s", async (_, auth, entry, count) => {
    const { registry, cache } = await afterLogin(auth, entry);
    const secrets = [username, password, login, ...proofs(registry)];
    const bytes = ["data.mdb", "lock.mdb"].map((name) => readFileSync(join(cache.directory, name)));
    expect(proofs(registry)).toHaveLength(count);
    expect(bytes.some((content) => content.includes("org/prog:v1"))).toBe(true);
    expect(secrets.filter((secret) => bytes.some((content) => content.includes(secret)))).toEqual([]);
  });
});

describe("the command line", () => {
  it("says what a pull did", async () => {
    const { cache, reference } = await pulled(first);
    await cache.close();
    const said = execFileSync(
      process.execPath,
      ["dist/packed/main.js", "pull", reference, "--cache-dir", cache.directory, "--platform", "linux/amd64"],
      { encoding: "utf8" },
    );
    expect(said).toContain(reference);
    expect(said).toContain(first.root.digest);
  });
});

function imageOf(bytes: Uint8Array): TestImage {
  return bytecodeImage({ objects: [{ path: "program.o", bytes }] });
}

/** One object with so many programs and maps. */
function imageWith(count: number): TestImage {
  const names = (prefix: string) => Array.from({ length: count }, (_, i) => ({ name: `${prefix}${i}` }));
  return imageOf(minimalBpfElf({ programs: names("program"), maps: names("map") }));
}

async function codeOf(image: TestRoot, limits = {}): Promise<string> {
  const registry = await startRegistry();
  registry.add("org/prog:v1", image);
  const cache = await openTestCache({ limits });
  return (await failureOf(cache.pull(registry.reference("org/prog:v1")))).code;
}
