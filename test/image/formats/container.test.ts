import { describe, expect, it } from "vitest";
import { digestOf } from "../../../src/core/digest.js";
import { mediaTypes } from "../../../src/image/media-types.js";
import { openTestCache, startRegistry } from "../../pull/support.js";
import { artifact } from "../../support/artifact-builder.js";
import {
  bpfmanLabels,
  bytecodeImage,
  type Content,
  content,
  gzip,
  imageIndex,
  layerOf,
  minimalBpfElf,
  tarOf,
} from "../../support/image-builder.js";
import { skippableFrame, zstd } from "../../support/zstd.js";
import { extract, objectNames, objectWith, refusalOf } from "./support.js";

const elf = minimalBpfElf();
const tar = tarOf([{ path: "program.o", bytes: elf }]);

/** As containers/storage writes it: a frame for each file, and tables of them in frames that others skip. */
const chunkedZstd = Buffer.concat([
  zstd(tar.subarray(0, 512)),
  zstd(tar.subarray(512)),
  skippableFrame(Buffer.from('{"version":1}')),
  skippableFrame(Buffer.alloc(64)),
]);

function withLayers(...layers: readonly Content[]) {
  return bytecodeImage({ layers });
}

describe("a container image", () => {
  it("in bpfman's format is read by its labels (D1)", async () => {
    expect(await extract(bytecodeImage())).toMatchObject({
      format: "bpfman",
      platform: { os: "linux", architecture: "amd64" },
      labels: { "io.ebpf.programs": '{"pass":"xdp"}' },
      objects: [{ name: "program.o", digest: digestOf(elf) }],
      attachments: [],
      disagreements: [],
    });
  });

  it("of Docker's media types is the same (D2)", async () => {
    const image = await extract(bytecodeImage({ docker: true }));
    expect([image.format, objectNames(image)]).toEqual(["bpfman", ["program.o"]]);
  });

  it("without bpfman's labels is a container image", async () => {
    expect(await extract(bytecodeImage({ labels: {} }))).toMatchObject({ format: "container" });
  });

  it("with labels of the first generation gives the object they name, and no other (D5)", async () => {
    const image = await extract(
      bytecodeImage({
        objects: [
          { path: "a.o", bytes: objectWith("other") },
          { path: "b.o", bytes: elf },
        ],
        labels: {
          "io.ebpf.filename": "b.o",
          "io.ebpf.program_name": "pass",
          "io.ebpf.bpf_function_name": "pass",
          "io.ebpf.program_type": "xdp",
        },
      }),
    );
    expect([image.format, objectNames(image), image.disagreements]).toEqual(["bpfman", ["b.o"], []]);
  });

  it.each([
    ["a plain tar layer", content(tar, mediaTypes.ociLayerTar)],
    ["a plain tar that calls itself gzip", content(tar, mediaTypes.ociLayerGzip)],
    ["a gzip that calls itself plain", content(gzip(tar), mediaTypes.ociLayerTar)],
    ["a zstd layer", content(zstd(tar), `${mediaTypes.ociLayerTar}+zstd`)],
    ["a zstd layer that calls itself gzip", content(zstd(tar), mediaTypes.ociLayerGzip)],
    ["zstd:chunked, with frames that are skipped", content(chunkedZstd, `${mediaTypes.ociLayerTar}+zstd`)],
  ])("may have %s (D17)", async (_, layer) => {
    expect(objectNames(await extract(withLayers(layer)))).toEqual(["program.o"]);
  });

  it("shows each file in the version of the last layer that has it", async () => {
    const upper = objectWith("upper");
    const image = await extract(
      withLayers(layerOf(tar), layerOf(tarOf([{ path: "./program.o", bytes: upper }]))),
    );
    expect(image.objects).toMatchObject([{ name: "program.o", digest: digestOf(upper) }]);
  });

  it.each([
    ["a file", ".wh.program.o"],
    ["a directory", "dir/.wh.sub"],
    ["all of a directory", "dir/.wh..wh..opq"],
  ])("does not show what a whiteout of %s hides", async (what, whiteout) => {
    const hidden = what === "a file" ? "program.o" : "dir/sub/hidden.o";
    const lower = tarOf([
      { path: hidden, bytes: elf },
      { path: "kept.o", bytes: objectWith("kept") },
    ]);
    const image = await extract(withLayers(layerOf(lower), layerOf(tarOf([{ path: whiteout }]))));
    expect(objectNames(image)).toEqual(["kept.o"]);
  });

  it("shows what is in the same layer as an opaque whiteout", async () => {
    const upper = tarOf([{ path: ".wh..wh..opq" }, { path: "new.o", bytes: elf }]);
    expect(objectNames(await extract(withLayers(layerOf(tar), layerOf(upper))))).toEqual(["new.o"]);
  });

  it("has no object in a whiteout, whatever its bytes (D18)", async () => {
    const image = bytecodeImage({ objects: [{ path: ".wh.program.o", bytes: elf }] });
    expect(await refusalOf(image)).toMatch(/holds no eBPF object/);
  });

  it("says what its files are when none is an object", async () => {
    const image = bytecodeImage({ objects: [{ path: "bin/x", bytes: minimalBpfElf({ machine: 62 }) }] });
    expect(await refusalOf(image)).toMatch(/bin\/x \(a 64-bit little-endian x86-64 object\)/);
  });

  it("whose layer is an object itself, as oras labels it, is an artifact", async () => {
    const image = artifact({
      config: { mediaType: mediaTypes.ociConfig, bytes: '{"architecture":"arm64","os":"linux"}' },
      layers: [{ mediaType: mediaTypes.ociLayerTar, bytes: elf, title: "x.o" }],
    });
    expect(await extract(image)).toMatchObject({
      format: "artifact",
      platform: { architecture: "arm64" },
      objects: [{ name: "x.o" }],
    });
  });

  it("that names one small layer a thousand times is read once", async () => {
    const layer = layerOf(
      tarOf([{ path: "program.o", bytes: Buffer.concat([elf, Buffer.alloc(8_000_000)]) }]),
    );
    const image = bytecodeImage({
      layers: [layer],
      editManifest: (manifest) => ({ ...manifest, layers: Array(1_000).fill(manifest.layers[0]) }),
    });
    const start = performance.now();
    expect(objectNames(await extract(image))).toEqual(["program.o"]);
    expect(performance.now() - start).toBeLessThan(5_000);
  });
});

describe("an index of container images", () => {
  const amd64 = bytecodeImage({ objects: [{ path: "bpf_x86_bpfel.o", bytes: elf }] });
  const s390x = bytecodeImage({
    platform: "linux/s390x",
    objects: [{ path: "bpf_s390_bpfeb.o", bytes: objectWith("pass", "big") }],
  });

  async function pullOn(root: ReturnType<typeof imageIndex>, ...platforms: readonly string[]) {
    const registry = await startRegistry();
    registry.add("org/prog:v1", root);
    const cache = await openTestCache();
    const reference = registry.reference("org/prog:v1");
    const images = [];
    for (const platform of platforms) {
      await cache.pull(reference, { platform });
      images.push(cache.inspect(reference, { platform }));
    }
    return { images, cache, reference };
  }

  it("is tolerated with BuildKit's attestations under unknown/unknown (D3)", async () => {
    const attestation = artifact({
      config: { mediaType: mediaTypes.ociConfig, bytes: '{"architecture":"unknown","os":"unknown"}' },
      layers: [{ mediaType: "application/vnd.in-toto+json", bytes: "{}" }],
    });
    const annotations = {
      "vnd.docker.reference.type": "attestation-manifest",
      "vnd.docker.reference.digest": amd64.manifest.digest,
    };
    const root = imageIndex([
      { image: attestation, platform: "unknown/unknown", annotations },
      { image: amd64 },
      { image: s390x },
    ]);
    const { images } = await pullOn(root, "linux/amd64");
    expect(images).toMatchObject([
      { manifestDigest: amd64.manifest.digest, platforms: ["linux/amd64", "linux/s390x"] },
    ]);
  });

  it("gives each platform its own object, under its own name and byte order, side by side (D4)", async () => {
    const root = imageIndex([{ image: amd64 }, { image: s390x }], { docker: true });
    const { images, cache, reference } = await pullOn(root, "linux/amd64", "linux/s390x");
    expect(images.map(({ objects: [object] }) => [object?.name, object?.byteOrder])).toEqual([
      ["bpf_x86_bpfel.o", "little"],
      ["bpf_s390_bpfeb.o", "big"],
    ]);
    expect(cache.bytecode(reference, { platform: "linux/s390x" }).name).toBe("bpf_s390_bpfeb.o");
  });

  it("with one object under two names in two layers keeps the object once (D4, the twin)", async () => {
    const ppc64le = bytecodeImage({
      platform: "linux/ppc64le",
      objects: [{ path: "bpf_powerpc_bpfel.o", bytes: elf }],
    });
    const root = imageIndex([{ image: amd64 }, { image: ppc64le }]);
    const { images } = await pullOn(root, "linux/amd64", "linux/ppc64le");
    const [first, second] = images.map(({ objects: [object] }) => object);
    expect([first?.name, second?.name]).toEqual(["bpf_x86_bpfel.o", "bpf_powerpc_bpfel.o"]);
    expect(first?.digest).toBe(second?.digest);
    expect(first?.layerDigest).not.toBe(second?.layerDigest);
  });

  it("may name one image for two platforms", async () => {
    const root = imageIndex([
      { image: amd64, platform: "linux/amd64" },
      { image: amd64, platform: "linux/arm64" },
    ]);
    const { images } = await pullOn(root, "linux/arm64", "linux/amd64");
    expect(images).toMatchObject([
      { platform: "linux/arm64", manifestDigest: amd64.manifest.digest },
      { platform: "linux/amd64", manifestDigest: amd64.manifest.digest },
    ]);
  });

  it("is used by its only entry when that names no platform", async () => {
    const { images } = await pullOn(imageIndex([{ image: amd64, platform: "" }]), "linux/arm64");
    expect(images).toMatchObject([{ platform: "linux/arm64", manifestDigest: amd64.manifest.digest }]);
  });
});

describe("bpfman's labels", () => {
  const image = bytecodeImage({ labels: bpfmanLabels({ pass: "tc", gone: "xdp" }, { events: "ringbuf" }) });

  it("are checked against the object, and what differs is told", async () => {
    expect((await extract(image)).disagreements).toEqual([
      "the label calls program pass tc, its section makes it xdp",
      "the label names a program gone that no object has",
      "the label names a map events that no object has",
    ]);
  });

  it("must agree when strict", async () => {
    expect(await refusalOf(image, { strict: true })).toMatch(
      /contradicts its objects: the label calls program pass tc, its section makes it xdp, and 2 more/,
    );
    expect((await extract(bytecodeImage(), { strict: true })).format).toBe("bpfman");
  });
});
