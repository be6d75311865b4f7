import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { defaultLimits, type Limits } from "../../src/core/limits.js";
import { parseReference } from "../../src/core/reference.js";
import type { FileSource } from "../../src/source/layout/file-source.js";
import { openFile } from "../../src/source/open-file.js";
import { dockerArchive, layoutTar, unpackedImage } from "../support/archives.js";
import { minimalBpfElf } from "../support/bpf-elf.js";
import { bytecodeImage, gzip, paxRecord, type TarEntry, tarOf } from "../support/image-builder.js";
import { layoutFiles } from "../support/layout.js";
import { zstd } from "../support/zstd.js";

const name = "registry.example/org/prog:v1";
const entries = [{ name, root: bytecodeImage() }];
const good = layoutTar(entries);
const some = Buffer.from("some");

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfcache-hostile-"));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

async function open(bytes: Uint8Array, limits: Partial<Limits> = {}): Promise<FileSource> {
  writeFileSync(join(directory, "file"), bytes);
  const options = { limits: { ...defaultLimits, ...limits }, spoolDirectory: directory };
  return openFile(join(directory, "file"), options);
}

function withEntry(...more: readonly TarEntry[]): Buffer {
  return layoutTar(entries, more);
}

/** The same archive with other bytes somewhere. */
function changed(at: number, bytes: Uint8Array): Buffer {
  const copy = Buffer.from(good);
  copy.set(bytes, at);
  return copy;
}

describe("an archive is refused as INVALID_IMAGE", () => {
  it.each<[string, Uint8Array]>([
    ["with a hard link", withEntry({ path: "x", type: "hardlink", target: "index.json" })],
    ["with a character device", withEntry({ path: "x", type: "character-device" })],
    ["with a block device", withEntry({ path: "x", type: "block-device" })],
    ["with a fifo", withEntry({ path: "x", type: "fifo" })],
    ["with an absolute path", withEntry({ path: "/etc/x", bytes: some })],
    ["with a path that climbs out", withEntry({ path: "blobs/../../x", bytes: some })],
    ["with a link whose own path climbs out", withEntry({ path: "../x", type: "symlink", target: "y" })],
    ["with a backslash in a path", withEntry({ path: "blobs\\x", bytes: some })],
    [
      "with a NUL in a pax path",
      withEntry({ path: "h", type: "pax", bytes: paxRecord("path", "a\0b") }, { path: "x", bytes: some }),
    ],
    ["with two files of one name", withEntry({ path: "index.json", bytes: some })],
    [
      "with two spellings of one name",
      withEntry({ path: ".//blobs/./x", bytes: some }, { path: "blobs/x", bytes: some }),
    ],
    ["with a file and a link of one name", withEntry({ path: "index.json", type: "symlink", target: "x" })],
    ["with a directory that has contents", withEntry({ path: "d/", type: "directory", bytes: some })],
    ["with a file that is called a directory", withEntry({ path: "d/", bytes: some })],
    [
      "with a sparse file",
      withEntry(
        { path: "h", type: "pax", bytes: paxRecord("GNU.sparse.major", "1") },
        { path: "x", bytes: some },
      ),
    ],
    [
      "with a size in a pax header",
      withEntry({ path: "h", type: "pax", bytes: paxRecord("size", "3") }, { path: "x", bytes: some }),
    ],
    [
      "with a global pax path",
      withEntry({ path: "h", type: "global-pax", bytes: paxRecord("path", "x") }, { path: "y", bytes: some }),
    ],
    [
      "with two pax headers for one entry",
      withEntry(
        ...["a", "b"].map((path) => ({ path: "h", type: "pax" as const, bytes: paxRecord("path", path) })),
        { path: "x", bytes: some },
      ),
    ],
    ["with a pax header for nothing", withEntry({ path: "h", type: "pax", bytes: paxRecord("path", "a") })],
    [
      "with a header of over 1 MiB",
      withEntry(
        { path: "h", type: "pax", bytes: paxRecord("comment", "x".repeat(1_100_000)) },
        { path: "x", bytes: some },
      ),
    ],
    ["with a size beyond its end", withEntry({ path: "x", bytes: some, size: 10_000_000 })],
    [
      "with an absurd size",
      changed(124, Buffer.from([0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff])),
    ],
    ["with a wrong checksum", changed(148, Buffer.from("000001\0 "))],
    ["without its end", good.subarray(0, good.length - 1024)],
    ["with half an end", good.subarray(0, good.length - 512)],
    ["cut in a file", good.subarray(0, good.length - 1024 - 600)],
    ["cut in a header", good.subarray(0, 700)],
    ["with something after its end", Buffer.concat([good, some])],
    ["with an archive after its end", Buffer.concat([good, good])],
    ["when its gzip is cut short", gzip(good).subarray(0, -9)],
    ["when its gzip is damaged", gzip(good).fill(0xff, 200, 260)],
    ["when it is packed twice", gzip(gzip(good))],
    ["when it is packed twice, with zstd too", zstd(gzip(good))],
    ["when its zstd is cut short", zstd(good).subarray(0, -9)],
    ["when its zstd has something after its end", Buffer.concat([zstd(good), some])],
    ["when its zstd wants a window over the limit", Buffer.from("28b52ffd00ff010000", "hex")],
    ["when it is a bomb", gzip(Buffer.alloc(50_000_000))],
    ["when it is empty", Buffer.alloc(0)],
    ["when it is a packed nothing", gzip(Buffer.alloc(0))],
    ["when it is zeros", Buffer.alloc(10_240)],
    ["when it has neither a layout nor Docker's manifest.json", tarOf([{ path: "x", bytes: some }])],
    ["when it is an object of another machine", minimalBpfElf({ machine: 62 })],
    [
      "when its marker is a link",
      tarOf([{ path: "oci-layout", type: "symlink", target: "x" }, ...filesBut("oci-layout")]),
    ],
    [
      "when its index is a link",
      tarOf([{ path: "index.json", type: "symlink", target: "x" }, ...filesBut("index.json")]),
    ],
    ["when Docker's manifest.json is not JSON", tarOf([{ path: "manifest.json", bytes: some }])],
    [
      "when Docker's manifest.json is something else",
      tarOf([{ path: "manifest.json", bytes: Buffer.from('{"a":1}') }]),
    ],
  ])("%s", async (_, bytes) => {
    await expect(open(bytes).then((source) => source.close())).rejects.toMatchObject({
      code: "INVALID_IMAGE",
    });
  });

  it("with more entries than the limit, which may be changed", async () => {
    await expect(open(good, { archiveEntries: 3 })).rejects.toMatchObject({ code: "INVALID_IMAGE" });
  });

  it("when more comes out of it than the limit", async () => {
    await expect(open(gzip(good), { archiveBytes: 2_000 })).rejects.toMatchObject({ code: "INVALID_IMAGE" });
  });
});

function filesBut(missing: string): TarEntry[] {
  return [...layoutFiles(entries)]
    .filter(([path]) => path !== missing)
    .map(([path, bytes]) => ({ path, bytes }));
}

describe("a blob of an archive", () => {
  const blob = `blobs/${bytecodeImage().root.digest.replace(":", "/")}`;

  it("is refused as a symbolic link, whatever is there", async () => {
    const source = await open(
      tarOf([{ path: blob, type: "symlink", target: "../../index.json" }, ...filesBut(blob)]),
    );
    await expect(source.resolve(parseReference(name))).rejects.toMatchObject({ code: "INVALID_IMAGE" });
    await source.close();
  });

  it("is NOT_FOUND when it is missing", async () => {
    const source = await open(tarOf(filesBut(blob)));
    await expect(source.resolve(parseReference(name))).rejects.toMatchObject({ code: "NOT_FOUND" });
    await source.close();
  });
});

describe("an image of Docker's archive is refused", () => {
  const image = unpackedImage();
  const [layer = image.config] = image.layers;
  const row = { Config: "c.json", RepoTags: [name], Layers: ["l.tar"] };
  const archive = (changes: object, files: Readonly<Record<string, Uint8Array>> = {}): Buffer => {
    const manifest = Buffer.from(JSON.stringify([{ ...row, ...changes }]));
    const all = { "c.json": image.config.bytes, "l.tar": layer.bytes, "manifest.json": manifest, ...files };
    return tarOf(Object.entries(all).map(([path, bytes]) => ({ path, bytes })));
  };

  it("is not, when all is well", async () => {
    const source = await open(archive({}));
    expect(await source.resolve(parseReference(name))).toMatchObject({
      descriptor: { digest: image.root.digest },
    });
    await source.close();
  });

  it.each<[string, Buffer, string]>([
    ["with a config that climbs out", archive({ Config: "../../etc/passwd" }), "NOT_FOUND"],
    ["with a layer that is not there", archive({ Layers: ["none"] }), "NOT_FOUND"],
    ["with fewer layers than its config has", archive({ Layers: [] }), "INVALID_IMAGE"],
    ["with a config that is none", archive({}, { "c.json": some }), "INVALID_IMAGE"],
    [
      "with a layer that is a bomb",
      archive({}, { "l.tar": gzip(Buffer.alloc(50_000_000)) }),
      "INVALID_IMAGE",
    ],
  ])("%s", async (_, bytes, code) => {
    const source = await open(bytes);
    await expect(source.resolve(parseReference(name))).rejects.toMatchObject({ code });
    await source.close();
  });

  it("with two images of one name", async () => {
    const two = [image, unpackedImage({ labels: { other: "image" } })];
    const saved = two.map(({ config, layers }) => ({
      config,
      layers: layers.map(({ bytes }) => bytes),
      tags: [name],
    }));
    await expect(open(dockerArchive(saved))).rejects.toMatchObject({ code: "INVALID_IMAGE" });
  });
});
