import { execFile } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import { mediaTypes } from "../../src/image/media-types.js";
import { openTestCache, temporaryDirectory } from "../pull/support.js";
import { artifact, gadget, gadgetTypes } from "../support/artifact-builder.js";
import {
  bpfmanLabels,
  bytecodeImage,
  content,
  gzip,
  imageIndex,
  minimalBpfElf,
  type TestRoot,
  tarOf,
  writeLayout,
} from "../support/image-builder.js";
import { requireTools } from "../support/tools.js";
import { customSection, wasmModule } from "../support/wasm.js";
import { zstd } from "../support/zstd.js";

// Each shape twice: as the tests elsewhere generate it, and as the real oras makes it. Both must read the same.

const missing = requireTools("oras");
const execute = promisify(execFile);
const created = "org.opencontainers.image.created";
const repository = "example.org/prog";

const elf = minimalBpfElf();
const big = minimalBpfElf({ order: "big" });
const tar = tarOf([{ path: "program.o", bytes: elf }]);
const twoObjects = tarOf([
  { path: "a.o", bytes: elf },
  { path: "b.o", bytes: minimalBpfElf({ programs: [{ name: "pass" }, { name: "other" }] }) },
]);
const climbing = tarOf([{ path: "../program.o", bytes: elf }]);
const configOf = (labels: Readonly<Record<string, string>>, diffId: string): string =>
  JSON.stringify({
    architecture: "amd64",
    os: "linux",
    config: { Labels: labels },
    rootfs: { type: "layers", diff_ids: [diffId] },
  });
const octets = "application/octet-stream";

type Files = Readonly<Record<string, Uint8Array | string>>;

/** A directory with files to push, and the layout beside them. */
class Workshop {
  readonly directory = temporaryDirectory();
  readonly layout = join(this.directory, "layout");

  write(files: Files): void {
    for (const [name, bytes] of Object.entries(files)) {
      mkdirSync(dirname(join(this.directory, name)), { recursive: true });
      writeFileSync(join(this.directory, name), bytes);
    }
  }

  async oras(command: string, ...args: readonly string[]): Promise<string> {
    const words = [...command.split(" "), ...args];
    const { stdout } = await execute("oras", words, { cwd: this.directory });
    return stdout.trim();
  }

  /** `oras push` into the layout under a tag. */
  push(tag: string, ...args: readonly string[]): Promise<string> {
    const annotation = ["--annotation", `${created}=2024-01-01T00:00:00Z`];
    return this.oras("push --oci-layout", ...annotation, `layout:${tag}`, ...args);
  }

  /** The blobs and the manifest of a shape that `oras push` does not make. */
  async pushManifest(tag: string, root: TestRoot): Promise<void> {
    for (const [digest, bytes] of root.blobs) {
      this.write({ blob: bytes });
      await this.oras("blob push --oci-layout", `layout@${digest}`, "blob");
    }
    for (const { digest, bytes, mediaType } of root.manifests.values()) {
      this.write({ "manifest.json": bytes });
      const name = digest === root.root.digest ? `layout:${tag}` : `layout@${digest}`;
      await this.oras("manifest push --oci-layout --media-type", mediaType, name, "manifest.json");
    }
  }
}

/** What a layout's tag is taken for: how it reads, or why it is refused. */
async function reading(layout: string, platform: string): Promise<unknown> {
  const cache = await openTestCache({ platform });
  const { images, failed } = await cache.seed([layout], { as: repository });
  const refusal = failed.find(({ reference }) => reference === `${repository}:v1`);
  if (refusal !== undefined) return { code: refusal.code, message: refusal.message };
  const [image] = images.filter(({ reference }) => reference === `${repository}:v1`);
  const { format, objects, attachments, labels, metadata, warnings } = cache.inspect(image?.reference ?? "");
  const { [created]: _, ...rest } = labels;
  return {
    format,
    objects: objects.map(({ name, digest, layerDigest }) => [name, digest, layerDigest]),
    attachments,
    labels: rest,
    metadata,
    warnings,
  };
}

async function readingOf(root: TestRoot, platform: string): Promise<unknown> {
  const layout = join(temporaryDirectory(), "layout");
  writeLayout(layout, [{ name: "v1", root }]);
  return reading(layout, platform);
}

interface Shape {
  readonly what: string;
  readonly generated: TestRoot;
  readonly make: (workshop: Workshop) => Promise<unknown>;
  readonly platform?: string;
  /** What both readings have in them. */
  readonly reads: object;
}

const labels = bpfmanLabels({ pass: "xdp" });
const legacy = {
  "io.ebpf.filename": "program.o",
  "io.ebpf.program_name": "pass",
  "io.ebpf.bpf_function_name": "pass",
  "io.ebpf.program_type": "xdp",
};
const layerGzip = mediaTypes.ociLayerGzip;
const subject = bytecodeImage();
const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
const notation = "application/vnd.cncf.notary.signature";
const yaml = "name: trace\n";
const wasm = wasmModule([customSection("probe.o", elf)]);
const library = minimalBpfElf({ machine: 62, type: 3 });

/** Pushes a container image with these labels and one layer. */
function pushConfigured(
  shape: Readonly<Record<string, string>>,
  layer: Uint8Array = gzip(tar),
  mediaType: string = layerGzip,
  archive: Uint8Array = tar,
) {
  return (workshop: Workshop): Promise<unknown> => {
    workshop.write({ "config.json": configOf(shape, digestOf(archive)), layer });
    const config = `config.json:${mediaTypes.ociConfig}`;
    return workshop.push("v1", "--config", config, `layer:${mediaType}`);
  };
}

/** Pushes the blobs and manifests as they are: what `oras push` and `oras attach` cannot make. */
function pushAsIs(root: TestRoot) {
  return (workshop: Workshop): Promise<unknown> => workshop.pushManifest("v1", root);
}

/** Pushes files as layers of these types. */
function pushFiles(files: Files, mediaType: string, ...args: readonly string[]) {
  return (workshop: Workshop): Promise<unknown> => {
    workshop.write({ ...files, "empty.json": "{}" });
    return workshop.push("v1", ...args, ...Object.keys(files).map((name) => `${name}:${mediaType}`));
  };
}

function attached(mediaType: string, layerType: string) {
  return async (workshop: Workshop): Promise<unknown> => {
    await workshop.pushManifest("image", subject);
    workshop.write({ "signature.json": "{}" });
    const digest = await workshop.oras(
      "attach --oci-layout --format go-template --template {{.digest}} --artifact-type",
      mediaType,
      "layout:image",
      `signature.json:${layerType}`,
    );
    return workshop.oras("tag --oci-layout", `layout@${digest}`, "v1");
  };
}

function pushIndex(...platforms: readonly (readonly [platform: string, name: string, bytes: Uint8Array])[]) {
  return async (workshop: Workshop): Promise<unknown> => {
    for (const [platform, name, bytes] of platforms) {
      workshop.write({ [name]: bytes });
      const tag = platform.replace("/", "-");
      await workshop.push(
        tag,
        "--artifact-type",
        octets,
        "--artifact-platform",
        platform,
        `${name}:${octets}`,
      );
    }
    const tags = platforms.map(([platform]) => platform.replace("/", "-"));
    return workshop.oras("manifest index create --oci-layout", "layout:v1", ...tags);
  };
}

function forPlatform(platform: string, title: string, bytes: Uint8Array) {
  const [os = "", architecture = ""] = platform.split("/");
  return artifact({
    artifactType: octets,
    config: { mediaType: mediaTypes.ociConfig, bytes: JSON.stringify({ architecture, os }) },
    layers: [{ mediaType: octets, bytes, title }],
  });
}

const docker = imageIndex([{ image: bytecodeImage({ docker: true }) }], { docker: true });
const gadgets = imageIndex([
  {
    image: gadget({ program: elf, yaml, more: [{ mediaType: gadgetTypes.wasm, bytes: wasm }] }),
    platform: "linux/amd64",
  },
  { image: gadget({ program: minimalBpfElf({ programs: [{ name: "arm" }] }) }), platform: "linux/arm64" },
]);
const cosign = artifact({
  config: { mediaType: mediaTypes.ociConfig, bytes: "{}" },
  layers: [
    {
      mediaType: "application/vnd.dev.cosign.simplesigning.v1+json",
      bytes: JSON.stringify({ critical: { image: { "docker-manifest-digest": subject.manifest.digest } } }),
    },
  ],
});

const cosignReferrer = artifact({
  config: { mediaType: "application/vnd.dev.cosign.artifact.sig.v1+json", bytes: "{}" },
  layers: [{ mediaType: "application/vnd.dev.cosign.simplesigning.v1+json", bytes: "{}" }],
  subject: subject.manifest,
});
const notationConfig = artifact({
  config: { mediaType: notation, bytes: "{}" },
  layers: [{ mediaType: "application/jose+json", bytes: "{}" }],
  subject: subject.manifest,
});
const bundles = ["{}", "[]"].map((bytes) =>
  artifact({ artifactType: bundle, layers: [{ mediaType: bundle, bytes }], subject: subject.manifest }),
);
const listOfBundles = imageIndex(
  bundles.map((image) => ({ image, platform: "" })),
  {
    editIndex: (index) => ({
      ...index,
      manifests: index.manifests.map((entry) => ({ ...entry, artifactType: mediaTypes.ociEmpty })),
    }),
  },
);
const amd64 = bytecodeImage({ labels });
const withAttestation = imageIndex([
  {
    image: artifact({
      config: { mediaType: mediaTypes.ociConfig, bytes: '{"architecture":"unknown","os":"unknown"}' },
      layers: [{ mediaType: "application/vnd.in-toto+json", bytes: "{}" }],
    }),
    platform: "unknown/unknown",
    annotations: {
      "vnd.docker.reference.type": "attestation-manifest",
      "vnd.docker.reference.digest": amd64.manifest.digest,
    },
  },
  { image: amd64 },
  { image: bytecodeImage({ labels, platform: "linux/arm64" }) },
]);
const packed = (layer: Uint8Array, mediaType: string) =>
  bytecodeImage({ labels, layers: [content(layer, mediaType)] });

const shapes: readonly Shape[] = [
  {
    what: "an index with what BuildKit attests (D3)",
    generated: withAttestation,
    make: pushAsIs(withAttestation),
    reads: { format: "bpfman", objects: [["program.o", digestOf(elf), digestOf(gzip(tar))]] },
  },
  {
    what: "a container image with a plain layer (D17)",
    generated: packed(tar, mediaTypes.ociLayerTar),
    make: pushConfigured(labels, tar, mediaTypes.ociLayerTar),
    reads: { format: "bpfman", objects: [["program.o", digestOf(elf), digestOf(tar)]] },
  },
  {
    what: "a container image with a zstd layer (D17)",
    generated: packed(zstd(tar), `${mediaTypes.ociLayerTar}+zstd`),
    make: pushConfigured(labels, zstd(tar), `${mediaTypes.ociLayerTar}+zstd`),
    reads: { format: "bpfman", objects: [["program.o", digestOf(elf), digestOf(zstd(tar))]] },
  },
  {
    what: "a container image with two objects and no label to choose by (D18)",
    generated: packed(gzip(twoObjects), layerGzip),
    make: pushConfigured(labels, gzip(twoObjects), layerGzip, twoObjects),
    reads: { format: "bpfman", objects: [{ 0: "a.o" }, { 0: "b.o" }] },
  },
  {
    what: "a container image whose layer climbs out (D18)",
    generated: packed(gzip(climbing), layerGzip),
    make: pushConfigured(labels, gzip(climbing), layerGzip, climbing),
    reads: { code: "INVALID_IMAGE", message: expect.stringContaining("leads out of the layer") },
  },
  {
    what: "a signature of cosign as a referrer (D14)",
    generated: cosignReferrer,
    make: pushAsIs(cosignReferrer),
    reads: {
      code: "INVALID_IMAGE",
      message: `this is a signature, not an image: cosign's, signing ${subject.manifest.digest}`,
    },
  },
  {
    what: "a list of two bundles whose types are left empty (D15)",
    generated: listOfBundles,
    make: pushAsIs(listOfBundles),
    reads: {
      code: "INVALID_IMAGE",
      message: "this is a list of signatures and attestations, not an image",
    },
  },
  {
    what: "a signature of notation told by its config (D16)",
    generated: notationConfig,
    make: pushAsIs(notationConfig),
    reads: {
      code: "INVALID_IMAGE",
      message: `this is a signature, not an image: notation's, signing ${subject.manifest.digest}`,
    },
  },
  {
    what: "a container image with bpfman's labels (D1)",
    generated: bytecodeImage({ labels }),
    make: pushConfigured(labels),
    reads: { format: "bpfman", objects: [["program.o", digestOf(elf), digestOf(gzip(tar))]], warnings: [] },
  },
  {
    what: "a container image with bpfman's first labels (D5)",
    generated: bytecodeImage({ labels: legacy }),
    make: pushConfigured(legacy),
    reads: { format: "bpfman", labels: legacy },
  },
  {
    what: "Docker's schema 2 under a manifest list (D2)",
    generated: docker,
    make: pushAsIs(docker),
    reads: { format: "bpfman" },
  },
  {
    what: "a gadget for two platforms (D6)",
    generated: gadgets,
    make: pushAsIs(gadgets),
    reads: {
      format: "gadget",
      metadata: { name: "trace" },
      attachments: [{ kind: "metadata" }, { kind: "wasm" }],
    },
  },
  {
    what: "an image of BumbleBee (D8)",
    generated: artifact({
      config: { mediaType: "application/ebpf.oci.image.config.v1+json", bytes: "{}" },
      layers: [{ mediaType: "application/ebpf.oci.image.program.v1+binary", bytes: elf, title: "program.o" }],
    }),
    make: pushFiles(
      { "program.o": elf },
      "application/ebpf.oci.image.program.v1+binary",
      "--config",
      "empty.json:application/ebpf.oci.image.config.v1+json",
    ),
    reads: { format: "bumblebee", objects: [["program.o", digestOf(elf), digestOf(elf)]] },
  },
  {
    what: "a WebAssembly module (D9)",
    generated: artifact({
      config: { mediaType: "application/vnd.wasm.config.v1+json", bytes: "{}" },
      layers: [{ mediaType: "application/vnd.wasm.content.layer.v1+wasm", bytes: wasm, title: "app.wasm" }],
    }),
    make: pushFiles(
      { "app.wasm": wasm },
      "application/vnd.wasm.content.layer.v1+wasm",
      "--config",
      "empty.json:application/vnd.wasm.config.v1+json",
    ),
    reads: { format: "wasm", objects: [["probe.o", digestOf(elf), digestOf(wasm)]] },
  },
  {
    what: "an artifact with a platform (D10)",
    generated: forPlatform("linux/arm64", "x.o", elf),
    make: pushFiles({ "x.o": elf }, octets, "--artifact-type", octets, "--artifact-platform", "linux/arm64"),
    platform: "linux/arm64",
    reads: { format: "artifact", objects: [["x.o", digestOf(elf), digestOf(elf)]] },
  },
  {
    what: "an artifact of oras's default types, which call the object a tar layer (D10)",
    generated: artifact({
      artifactType: "application/vnd.unknown.artifact.v1",
      layers: [{ mediaType: mediaTypes.ociLayerTar, bytes: elf, title: "x.o" }],
    }),
    make: (workshop) => {
      workshop.write({ "x.o": elf });
      return workshop.push("v1", "x.o");
    },
    reads: { format: "artifact", objects: [["x.o", digestOf(elf), digestOf(elf)]] },
  },
  {
    what: "several objects for a host of each byte order (D11)",
    generated: artifact({
      artifactType: octets,
      layers: [
        { mediaType: octets, bytes: elf, title: "a_bpfel.o" },
        { mediaType: octets, bytes: big, title: "a_bpfeb.o" },
      ],
    }),
    make: pushFiles({ "a_bpfel.o": elf, "a_bpfeb.o": big }, octets, "--artifact-type", octets),
    platform: "linux/s390x",
    reads: {
      format: "artifact",
      objects: [
        ["a_bpfel.o", digestOf(elf), digestOf(elf)],
        ["a_bpfeb.o", digestOf(big), digestOf(big)],
      ],
    },
  },
  {
    what: "an index of artifacts, each with its own file name (D4)",
    generated: imageIndex([
      { image: forPlatform("linux/amd64", "p_x86_bpfel.o", elf), platform: "linux/amd64" },
      { image: forPlatform("linux/s390x", "p_s390_bpfeb.o", big), platform: "linux/s390x" },
    ]),
    make: pushIndex(["linux/amd64", "p_x86_bpfel.o", elf], ["linux/s390x", "p_s390_bpfeb.o", big]),
    platform: "linux/s390x",
    reads: { format: "artifact", objects: [["p_s390_bpfeb.o", digestOf(big), digestOf(big)]] },
  },
  {
    what: "a plugin of Falco without an object (D12)",
    generated: artifact({
      config: { mediaType: "application/vnd.cncf.falco.plugin.config.v1+json", bytes: "{}" },
      layers: [
        {
          mediaType: "application/vnd.cncf.falco.plugin.layer.v1+tar.gz",
          bytes: gzip(tarOf([{ path: "libx.so", bytes: library }])),
          title: "x-linux-x86_64.tar.gz",
        },
      ],
    }),
    make: pushFiles(
      { "x-linux-x86_64.tar.gz": gzip(tarOf([{ path: "libx.so", bytes: library }])) },
      "application/vnd.cncf.falco.plugin.layer.v1+tar.gz",
      "--config",
      "empty.json:application/vnd.cncf.falco.plugin.config.v1+json",
    ),
    reads: { code: "INVALID_IMAGE", message: "the Falco plugin holds no eBPF object" },
  },
  {
    what: "a signature of cosign (D13)",
    generated: cosign,
    make: pushAsIs(cosign),
    reads: {
      code: "INVALID_IMAGE",
      message: `this is a signature, not an image: cosign's, signing ${subject.manifest.digest}`,
    },
  },
  {
    what: "a sigstore bundle, attached (D15)",
    generated: artifact({
      artifactType: bundle,
      layers: [{ mediaType: bundle, bytes: "{}" }],
      subject: subject.manifest,
    }),
    make: attached(bundle, bundle),
    reads: {
      code: "INVALID_IMAGE",
      message: `this is a signature, not an image: a sigstore bundle, signing ${subject.manifest.digest}`,
    },
  },
  {
    what: "a signature of notation, attached (D16)",
    generated: artifact({
      artifactType: notation,
      layers: [{ mediaType: "application/jose+json", bytes: "{}" }],
      subject: subject.manifest,
    }),
    make: attached(notation, "application/jose+json"),
    reads: {
      code: "INVALID_IMAGE",
      message: `this is a signature, not an image: notation's, signing ${subject.manifest.digest}`,
    },
  },
];

describe.skipIf(missing)(`the real oras makes the same of${missing ?? ""}`, () => {
  it.each(shapes.map((shape) => [shape.what, shape] as const))("%s", async (_, shape) => {
    const { generated, make, platform = "linux/amd64", reads } = shape;
    const workshop = new Workshop();
    await make(workshop);
    const made = await reading(workshop.layout, platform);
    expect(made).toEqual(await readingOf(generated, platform));
    expect(made).toMatchObject(reads);
  });
});
