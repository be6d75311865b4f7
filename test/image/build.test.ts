import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { Digest } from "../../src/core/digest.js";
import { defaultLimits } from "../../src/core/limits.js";
import { parsePlatform } from "../../src/core/platform.js";
import { type BuildInput, type BuiltImage, buildImage } from "../../src/image/build.js";
import { extractImage } from "../../src/image/extract.js";
import { parseManifest } from "../../src/image/manifest.js";

const objects = new URL("../../examples/bpf/objects/", import.meta.url);

function input(name: string, platform: string): BuildInput {
  return { name, bytes: readFileSync(new URL(name, objects)), platform: parsePlatform(platform) };
}

const little = input("xdp_counter.bpfel.o", "linux/amd64");
const arm = { ...little, platform: parsePlatform("linux/arm64") };
const big = input("xdp_counter.bpfeb.o", "linux/s390x");

function bytesOf({ content }: BuiltImage, digest: Digest): Buffer {
  return content.get(digest) ?? Buffer.alloc(0);
}

async function extractFrom(built: BuiltImage, digest: Digest, platform: string) {
  const manifest = parseManifest(bytesOf(built, digest), "application/vnd.oci.image.manifest.v1+json");
  if (manifest.kind !== "manifest") throw new Error("not a manifest");
  const content = {
    manifest,
    config: bytesOf(built, manifest.config.digest),
    layers: manifest.layers.map((descriptor) => ({ descriptor, bytes: bytesOf(built, descriptor.digest) })),
  };
  return extractImage(content, parsePlatform(platform), { limits: defaultLimits, strict: true });
}

describe("an image built of one object", () => {
  it("is one manifest from which the same object comes out, in bpfman's format, without contradiction", async () => {
    const built = await buildImage([little]);
    const image = await extractFrom(built, built.root.digest, "linux/amd64");
    expect(built.root.mediaType).toBe("application/vnd.oci.image.manifest.v1+json");
    expect(image.format).toBe("bpfman");
    expect(image.objects.map(({ name }) => name)).toEqual([little.name]);
    expect(Buffer.from(image.objects[0]?.bytes ?? []).equals(Buffer.from(little.bytes))).toBe(true);
  });

  it("says its programs and maps in bpfman's labels and spelling", async () => {
    const built = await buildImage([little]);
    const image = await extractFrom(built, built.root.digest, "linux/amd64");
    expect(image.labels).toEqual({
      "io.ebpf.maps": '{"packet_counts":"per_cpu_array"}',
      "io.ebpf.programs": '{"xdp_counter":"xdp"}',
    });
  });

  it("has the same digest every time", async () => {
    expect((await buildImage([little])).root).toEqual((await buildImage([little])).root);
  });
});

describe("an image built of several objects", () => {
  it("is an index with a manifest for each platform", async () => {
    const built = await buildImage([little, arm, big]);
    const index = parseManifest(bytesOf(built, built.root.digest), built.root.mediaType);
    if (index.kind !== "index") throw new Error("not an index");
    for (const [i, platform] of ["linux/amd64", "linux/arm64", "linux/s390x"].entries()) {
      const { digest = built.root.digest } = index.manifests[i] ?? {};
      const image = await extractFrom(built, digest, platform);
      expect(image.platform).toEqual(parsePlatform(platform));
      expect(image.objects[0]?.facts.byteOrder).toBe(platform === "linux/s390x" ? "big" : "little");
    }
  });

  it("cannot have two for one platform", async () => {
    await expect(buildImage([little, little])).rejects.toMatchObject({ code: "USAGE" });
  });
});

describe("what cannot be built", () => {
  it("is an object in another byte order than its platform's", async () => {
    const wrong = { ...big, platform: parsePlatform("linux/amd64") };
    await expect(buildImage([wrong])).rejects.toMatchObject({ code: "PLATFORM_MISMATCH" });
  });

  it("is what is no eBPF object", async () => {
    const text = { ...little, name: "notes.txt", bytes: Buffer.from("hello") };
    await expect(buildImage([text])).rejects.toMatchObject({
      code: "INVALID_IMAGE",
      message: expect.stringMatching(/^notes\.txt: /),
    });
  });
});
