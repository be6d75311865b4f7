import { mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Digest } from "../../src/core/digest.js";
import { defaultLimits } from "../../src/core/limits.js";
import { parseReference } from "../../src/core/reference.js";
import { mediaTypes } from "../../src/image/media-types.js";
import type { FileSource } from "../../src/source/layout/file-source.js";
import { parseGivenName } from "../../src/source/layout/names.js";
import { openFile } from "../../src/source/open-file.js";
import { dockerArchive, layoutTar, unpackedImage } from "../support/archives.js";
import { bytecodeImage, content, gzip, minimalBpfElf, type TestImage } from "../support/image-builder.js";
import { zstd } from "../support/zstd.js";
import { describeImageSource, type HeldContent, type SourceUnderTest } from "./conformance.js";

const reference = parseReference("registry.example/org/prog:v1");

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfcache-archive-"));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

async function open(bytes: Uint8Array, as?: string, name = "file"): Promise<FileSource> {
  writeFileSync(join(directory, name), bytes);
  return openFile(join(directory, name), {
    limits: defaultLimits,
    spoolDirectory: directory,
    givenName: as === undefined ? undefined : parseGivenName(as),
  });
}

/** A source over a file, which is written and opened anew when something in it is replaced. */
async function reopening(
  write: (replaced: ReadonlyMap<Digest, Uint8Array>) => Uint8Array,
): Promise<SourceUnderTest> {
  const replaced = new Map<Digest, Uint8Array>();
  const sources: FileSource[] = [];
  const reopen = (): Promise<FileSource> =>
    open(write(replaced), reference.toString()).then((source) => {
      sources.push(source);
      return source;
    });
  let current = reopen();
  await current;
  return {
    reference,
    source: {
      name: "layout",
      resolve: async (...args) => (await current).resolve(...args),
      fetch: async (...args) => (await current).fetch(...args),
      close: async () => {},
    },
    replace: (digest, bytes) => {
      replaced.set(digest, bytes);
      current = reopen();
    },
    [Symbol.asyncDispose]: async () => {
      await current;
      for (const source of sources) await source.close();
    },
  };
}

function withReplaced<
  T extends { readonly manifests: Map<string, { bytes: Buffer }>; readonly blobs: Map<string, Buffer> },
>(root: T, replaced: ReadonlyMap<Digest, Uint8Array>): T {
  const manifests = [...root.manifests].map(([digest, document]) => {
    const bytes = replaced.get(digest as Digest);
    return [digest, bytes === undefined ? document : { ...document, bytes: Buffer.from(bytes) }] as const;
  });
  const blobs = [...root.blobs].map(
    ([digest, bytes]) => [digest, Buffer.from(replaced.get(digest as Digest) ?? bytes)] as const,
  );
  return { ...root, manifests: new Map(manifests), blobs: new Map(blobs) };
}

describeImageSource("an OCI layout in a tar archive", (root) =>
  reopening((replaced) => layoutTar([{ name: reference.toString(), root: withReplaced(root, replaced) }])),
);

describeImageSource("an OCI layout in a packed tar archive", (root) =>
  reopening((replaced) =>
    gzip(layoutTar([{ name: reference.toString(), root: withReplaced(root, replaced) }])),
  ),
);

describeImageSource("an OCI layout in a tar archive packed with zstd", (root) =>
  reopening((replaced) =>
    zstd(layoutTar([{ name: reference.toString(), root: withReplaced(root, replaced) }])),
  ),
);

const saved = unpackedImage();
const madeOfSaved: HeldContent = { heldImage: saved, heldIndex: saved, makesDocuments: true };

function saveImage({ config, layers }: TestImage, tags: readonly string[] | null = [reference.toString()]) {
  return { config, layers: layers.map(({ bytes }) => bytes), tags };
}

describeImageSource(
  "Docker's archive",
  () =>
    reopening((replaced) => {
      const layers = saved.layers.map(({ digest, bytes }) => replaced.get(digest) ?? bytes);
      return dockerArchive([{ ...saveImage(saved), layers }]);
    }),
  madeOfSaved,
);

const object = minimalBpfElf();

function imageOfObject(): TestImage {
  const layer = content(object, "application/octet-stream");
  const config = content("{}", mediaTypes.ociEmpty);
  const describe = ({ mediaType, digest, size }: typeof layer) => ({ mediaType, digest, size });
  const manifest = content(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.ociManifest,
      artifactType: "application/vnd.bpfcache.object.v1",
      config: describe(config),
      layers: [{ ...describe(layer), annotations: { "org.opencontainers.image.title": "file" } }],
    }),
    mediaTypes.ociManifest,
  );
  return { ...bytecodeImage(), root: manifest, manifest, config, layers: [layer] };
}

describeImageSource("an object file", () => reopening(() => object), {
  heldImage: imageOfObject(),
  heldIndex: imageOfObject(),
  makesDocuments: true,
});

describe("Docker's archive", () => {
  it("gives an image all its names, and tells images apart", async () => {
    const other = unpackedImage({ labels: { other: "image" } });
    const archive = dockerArchive([
      saveImage(saved, ["quay.io/org/a:v1", "quay.io/org/b:v1"]),
      saveImage(other, ["busybox:latest"]),
      saveImage(unpackedImage({ labels: {} }), null),
    ]);
    const source = await open(archive);
    expect(source.references().map(String)).toEqual([
      "quay.io/org/a:v1",
      "quay.io/org/b:v1",
      "docker.io/library/busybox:latest",
    ]);
    for (const [name, { root }] of [
      ["quay.io/org/b:v1", saved],
      ["docker.io/library/busybox:latest", other],
    ] as const) {
      const resolution = await source.resolve(parseReference(name));
      expect(resolution).toMatchObject({ descriptor: { digest: root.digest }, bytes: root.bytes });
    }
    await source.close();
  });

  it("needs a name for an image without one", async () => {
    const archive = dockerArchive([saveImage(saved, null)]);
    await expect(open(archive)).rejects.toMatchObject({ code: "USAGE" });
    const source = await open(archive, "quay.io/org/prog");
    expect(source.references().map(String)).toEqual(["quay.io/org/prog:latest"]);
    await source.close();
  });

  it.each([
    ["gzip", gzip],
    ["zstd", zstd],
  ])("gives layers that a tool has packed as they unpack, from %s", async (_, pack) => {
    const archive = dockerArchive([
      { ...saveImage(saved), layers: saved.layers.map(({ bytes }) => pack(bytes)) },
    ]);
    const source = await open(archive);
    expect(await source.resolve(reference)).toMatchObject({ descriptor: { digest: saved.root.digest } });
    const [layer = saved.config] = saved.layers;
    const chunks: Uint8Array[] = [];
    for await (const chunk of await source.fetch(reference, layer)) chunks.push(chunk);
    expect(Buffer.concat(chunks)).toEqual(layer.bytes);
    await source.close();
  });

  it("follows a link to a layer that another image has too", async () => {
    const [layer = saved.config] = saved.layers;
    const row = { Config: "config.json", RepoTags: [reference.toString()], Layers: ["b/layer.tar"] };
    const entries = [
      { path: "config.json", bytes: saved.config.bytes },
      { path: "a/layer.tar", bytes: layer.bytes },
      { path: "manifest.json", bytes: Buffer.from(JSON.stringify([row])) },
    ];
    const linked = (target: string): Buffer =>
      dockerArchive([], [...entries, { path: "b/layer.tar", type: "symlink", target }]);
    // The builder writes an empty list first; what is wanted has to be the only one.
    const bytesOf = (target: string): Buffer => linked(target).subarray(1024);
    const source = await open(bytesOf("../a/layer.tar"));
    expect(await source.resolve(reference)).toMatchObject({ descriptor: { digest: saved.root.digest } });
    await source.close();
    for (const target of ["../../etc/passwd", "/a/layer.tar", "../b/layer.tar", "../none"]) {
      const hostile = await open(bytesOf(target));
      await expect(hostile.resolve(reference)).rejects.toMatchObject({ code: "INVALID_IMAGE" });
      await hostile.close();
    }
  });
});

describe("a tar archive", () => {
  const root = bytecodeImage();
  const entries = [{ name: reference.toString(), root }];

  it("with both a layout and Docker's manifest.json is read as the layout", async () => {
    const manifest = {
      path: "manifest.json",
      bytes: Buffer.from('[{"Config":"x","RepoTags":["a/b:c"],"Layers":[]}]'),
    };
    const source = await open(layoutTar(entries, [manifest]));
    expect([source.name, source.references().map(String)]).toEqual(["layout", [reference.toString()]]);
    await source.close();
  });

  it("is not read again: only its index is held", async () => {
    const source = await open(layoutTar(entries));
    rmSync(join(directory, "file"));
    expect(await source.resolve(reference)).toMatchObject({ bytes: root.root.bytes });
    await source.close();
  });

  it("that is packed leaves no file behind", async () => {
    const source = await open(gzip(layoutTar(entries)), undefined, "packed");
    rmSync(join(directory, "packed"));
    expect(readdirSync(directory)).toEqual([]);
    await source.close();
  });
});

describe("an object file", () => {
  it("always has the same digests, packed or not", async () => {
    const plain = await open(object, "quay.io/org/prog:v1", "prog.o");
    const packed = await open(gzip(object), "quay.io/org/prog:v1", "prog.o.gz");
    const name = parseReference("quay.io/org/prog:v1");
    const other = await open(zstd(object), "quay.io/org/prog:v1", "prog.o.zst");
    const one = await plain.resolve(name);
    expect(await packed.resolve(name)).toEqual(one);
    expect(await other.resolve(name)).toEqual(one);
    const digest = "sha256:b22a4773c808a26798702f52378e7599214b8b226f6aecef844945c4cf7f1ee3";
    expect(one).toMatchObject({ descriptor: { digest } });
  });

  it("needs a name", async () => {
    await expect(open(object)).rejects.toMatchObject({
      code: "USAGE",
      hint: expect.stringContaining("--as"),
    });
  });
});
