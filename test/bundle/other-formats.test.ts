import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { extract } from "tar-stream";
import { describe, expect, it } from "vitest";
import { digestHex, digestOf } from "../../src/core/digest.js";
import { failureOf, imageNamed } from "../pull/support.js";
import { artifact } from "../support/artifact-builder.js";
import { bytecodeImage, imageIndex, minimalBpfElf } from "../support/image-builder.js";
import { cacheWith, newPath, readJson } from "./support.js";

const one = "registry.example/org/one:v1";
const two = "registry.example/org/two:v1";
const imageOne = imageNamed("one");
const imageTwo = imageNamed("two");
const index = imageIndex([
  { image: imageNamed("multi_amd64", { platform: "linux/amd64" }) },
  { image: imageNamed("multi_arm64", { platform: "linux/arm64" }) },
]);

interface Member {
  readonly bytes: Buffer;
  readonly mode: number | undefined;
  readonly mtime: number | undefined;
  readonly uid: number | undefined;
}

async function membersOf(path: string): Promise<Map<string, Member>> {
  const members = new Map<string, Member>();
  const reader = extract();
  reader.end(readFileSync(path));
  for await (const entry of reader) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry) chunks.push(chunk as Uint8Array);
    const { name, mode, mtime, uid } = entry.header;
    members.set(name, { bytes: Buffer.concat(chunks), mode, mtime: mtime?.getTime(), uid });
  }
  return members;
}

describe("a docker-archive", () => {
  it("has configs as they are, layers unpacked and named by their diff ids, and a manifest.json", async () => {
    const cache = await cacheWith({ [one]: imageOne, [two]: imageTwo });
    const output = newPath("images.tar");
    const { format, failed } = await cache.export([two, one], { output, format: "docker-archive" });
    expect({ format, failed }).toEqual({ format: "docker-archive", failed: [] });
    const members = await membersOf(output);
    const manifest = JSON.parse(members.get("manifest.json")?.bytes.toString() ?? "") as object;
    const unpacked = gunzipSync(imageOne.layers[0]?.bytes ?? Buffer.alloc(0));
    const layer = `${digestHex(digestOf(unpacked))}.tar`;
    const config = `${digestHex(imageOne.config.digest)}.json`;
    expect(manifest).toMatchObject([
      { Config: config, RepoTags: [one], Layers: [layer] },
      { RepoTags: [two] },
    ]);
    expect(members.get(layer)?.bytes).toEqual(unpacked);
    expect(members.get(config)?.bytes).toEqual(imageOne.config.bytes);
    expect(members.get(layer)).toMatchObject({ mode: 0o644, mtime: 0, uid: 0 });
  });

  it("has the platform of the cache when an image is cached for several, and needs a choice when that is not among them", async () => {
    const cache = await cacheWith({ [one]: index }, { allPlatforms: true });
    const own = await cache.export([one], { output: newPath("own.tar"), format: "docker-archive" });
    expect(own.images[0]?.platforms).toEqual(["linux/amd64"]);
    const failure = await failureOf(
      cache.export([one], {
        output: newPath("both.tar"),
        format: "docker-archive",
        platforms: ["linux/amd64", "linux/arm64"],
      }),
    );
    expect(failure.code).toBe("USAGE");
  });

  it("leaves out what it cannot express, and says so", async () => {
    const noDiffIds = bytecodeImage({
      editConfig: ({ architecture, os, config }) => ({ architecture, os, config }),
    });
    const generic = "registry.example/org/artifact:v1";
    const cache = await cacheWith({
      [one]: imageOne,
      [two]: noDiffIds,
      [generic]: artifact({
        artifactType: "application/vnd.example.ebpf",
        layers: [{ mediaType: "application/octet-stream", bytes: minimalBpfElf() }],
      }),
    });
    const output = newPath("images.tar");
    const result = await cache.export([], { all: true, output, format: "docker-archive" });
    expect(result.images.map(({ reference }) => reference)).toEqual([one]);
    expect(result.failed).toMatchObject([
      { reference: generic, code: "INVALID_IMAGE" },
      { reference: two, code: "INVALID_IMAGE" },
    ]);
    const lock = readJson<{ images: { reference: string }[] }>(`${output}.lock.json`);
    expect(lock.images.map(({ reference }) => reference)).toEqual([one]);
  });

  it("has no tag for a reference that is a digest", async () => {
    const cache = await cacheWith({ [one]: imageOne });
    const output = newPath("image.tar");
    await cache.export([`registry.example/org/one@${imageOne.root.digest}`], {
      output,
      format: "docker-archive",
    });
    const members = await membersOf(output);
    expect(JSON.parse(members.get("manifest.json")?.bytes.toString() ?? "")).toMatchObject([
      { RepoTags: [] },
    ]);
  });
});

describe("object files", () => {
  const objects = [
    { path: "xdp.o", bytes: minimalBpfElf({ programs: [{ name: "first", section: "xdp" }] }) },
    { path: "tc.o", bytes: minimalBpfElf({ programs: [{ name: "second", section: "tc" }] }) },
  ];
  const both = bytecodeImage({ objects, labels: { z: "last", a: "first" } });

  it("are one .o and one .json for each object", async () => {
    const cache = await cacheWith({ [one]: both });
    const output = newPath("objects");
    await cache.export([one], { output, format: "files" });
    const names = readdirSync(output).filter((name) => name.endsWith(".o"));
    expect(names).toHaveLength(2);
    for (const name of names) {
      const described = readJson<Record<string, unknown>>(output, name.replace(/o$/, "json"));
      const bytes = readFileSync(join(output, name));
      const object = objects.find(({ path }) => path === described["name"]);
      expect(bytes).toEqual(object?.bytes);
      expect(described).toMatchObject({
        reference: one,
        rootDigest: both.root.digest,
        manifestDigest: both.manifest.digest,
        layerDigest: both.layers[0]?.digest,
        digest: digestOf(bytes),
        platform: "linux/amd64",
        size: bytes.length,
        labels: { a: "first", z: "last" },
      });
      expect(described["programs"]).toHaveLength(1);
    }
  });

  it("have names that stay what they are when other images come along", async () => {
    const alone = newPath("alone");
    await (await cacheWith({ [one]: both })).export([one], { output: alone, format: "files" });
    const together = newPath("together");
    const cache = await cacheWith({ [two]: imageTwo, [one]: both });
    await cache.export([], { all: true, output: together, format: "files" });
    const names = readdirSync(alone).filter((name) => name !== "bpfcache-lock.json");
    expect(names.length).toBe(4);
    expect(readdirSync(together)).toEqual(expect.arrayContaining(names));
  });

  it("have safe and different names, whatever the image calls them", async () => {
    const hostile = [
      `${"a/".repeat(90)}x.o`,
      "a b.o",
      "a_b.o",
      "-rf.o",
      "\u202eevil.o",
      `${"n".repeat(200)}.o`,
    ];
    const image = bytecodeImage({
      objects: hostile.map((path, i) => ({ path, bytes: minimalBpfElf({ programs: [{ name: `p${i}` }] }) })),
    });
    const cache = await cacheWith({ [one]: image });
    const output = newPath("objects");
    await cache.export([one], { output, format: "files" });
    const names = readdirSync(output).filter((name) => name.endsWith(".o"));
    expect(names).toHaveLength(hostile.length);
    for (const name of names) {
      expect(name).toMatch(/^[A-Za-z0-9_][A-Za-z0-9._-]*-[0-9a-f]{16}\.o$/);
      expect(name).not.toContain("..");
      expect(name.length).toBeLessThan(200);
    }
  });

  it("go into a tar file too, the same as in a directory", async () => {
    const cache = await cacheWith({ [one]: both });
    const [directory, archive] = [newPath("objects"), newPath("objects.tar")] as const;
    await cache.export([one], { output: directory, format: "files" });
    await cache.export([one], { output: archive, format: "files" });
    const members = await membersOf(archive);
    expect([...members.keys()].sort()).toEqual(readdirSync(directory).sort());
    for (const [name, { bytes }] of members) expect(bytes).toEqual(readFileSync(join(directory, name)));
  });
});
