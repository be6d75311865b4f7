import { describe, expect, it } from "vitest";
import { digestOf } from "../../../src/core/digest.js";
import { mediaTypes } from "../../../src/image/media-types.js";
import { openTestCache, startRegistry } from "../../pull/support.js";
import { type ArtifactLayer, type ArtifactOptions, artifact } from "../../support/artifact-builder.js";
import { bpfmanLabels, gzip, imageIndex, minimalBpfElf, tarOf } from "../../support/image-builder.js";
import { extract, objectNames, objectWith, refusalOf } from "./support.js";

const elf = minimalBpfElf();
const octets = "application/octet-stream";

function generic(layers: readonly ArtifactLayer[], more: ArtifactOptions = {}) {
  return artifact({ artifactType: "application/vnd.example.ebpf", layers, ...more });
}

function file(title: string | undefined, bytes: Uint8Array, mediaType = octets): ArtifactLayer {
  return { mediaType, bytes, ...(title === undefined ? {} : { title }) };
}

describe("any other artifact with an eBPF object (D10)", () => {
  it.each([
    ["raw", elf, octets],
    ["gzipped", gzip(elf), octets],
    ["called a tar layer, as oras does", elf, mediaTypes.ociLayerTar],
    ["gzipped and called a plain one", gzip(elf), "application/x-elf"],
    ["in a tar.gz", gzip(tarOf([{ path: "x.o", bytes: elf }])), octets],
    ["in a plain tar", tarOf([{ path: "x.o", bytes: elf }]), "text/plain"],
  ])("is known by its content: %s", async (_, bytes, mediaType) => {
    expect(await extract(generic([file("x.o", bytes, mediaType)]))).toMatchObject({
      format: "artifact",
      objects: [{ name: "x.o", digest: digestOf(elf), layer: digestOf(bytes) }],
    });
  });

  it("is for the platform that its config names, as oras writes it with --artifact-platform", async () => {
    const config = { mediaType: mediaTypes.ociConfig, bytes: '{"architecture":"arm64","os":"linux"}' };
    expect(await extract(generic([file("x.o", elf)], { config }))).toMatchObject({
      format: "artifact",
      platform: { os: "linux", architecture: "arm64" },
    });
  });

  it.each([
    ["YAML", "application/yaml", "a: 1"],
    ["nothing", "application/x-nothing", ""],
    ["JSON of a type nobody knows", "application/json", '{"architecture":7}'],
  ])("may have a config of %s, which is not read", async (_, mediaType, bytes) => {
    const image = await extract(generic([file("x.o", elf)], { config: { mediaType, bytes } }));
    expect([image.platform, objectNames(image)]).toEqual([undefined, ["x.o"]]);
  });

  it("has its annotations for labels, and is held to those of bpfman", async () => {
    const annotations = { ...bpfmanLabels({ gone: "xdp" }), vendor: "x", empty: "" };
    const image = generic([file("x.o", elf)], { annotations });
    expect(await extract(image)).toMatchObject({
      labels: { vendor: "x" },
      disagreements: ["the label names a program gone that no object has"],
    });
    expect(await refusalOf(image, { strict: true })).toMatch(/contradicts/);
  });

  it("keeps what is no object as an attachment", async () => {
    const readme = Buffer.from("# Read me");
    const image = await extract(
      generic([file("x.o", elf), file("README.md", readme, mediaTypes.ociLayerTar), file(undefined, readme)]),
    );
    expect(image.attachments?.map(({ name, kind }) => [name, kind])).toEqual([
      ["README.md", "other"],
      ["layer", "other"],
    ]);
  });

  it("without one is refused, and says what is there", async () => {
    const image = generic([file("notes.txt", Buffer.from("x")), file("x.o", minimalBpfElf({ machine: 62 }))]);
    expect(await refusalOf(image)).toMatch(
      /the artifact holds no eBPF object.*notes\.txt, x\.o \(a 64-bit little-endian x86-64 object\)/,
    );
  });

  it.each([
    ["no layers", []],
    ["an empty layer", [file("x.o", Buffer.alloc(0))]],
    ["a gzip of nothing", [file("x.o", gzip(Buffer.alloc(0)))]],
    ["a gzip that is cut short", [file("x.o", gzip(elf).subarray(0, -10))]],
    ["garbage behind its gzip", [file("x.o", Buffer.concat([gzip(elf), Buffer.from("x")]))]],
    ["an object that is cut short", [file("x.o", elf.subarray(0, 200))]],
    ["a path out of its archive", [file("x.tar", tarOf([{ path: "../x.o", bytes: elf }]))]],
    [
      "a link in its archive",
      [file("x.tar", tarOf([{ path: "x.o", type: "symlink", target: "/etc/passwd" }]))],
    ],
  ])("with %s is refused (D18)", async (_, layers) => {
    expect(await refusalOf(generic(layers))).not.toBe("");
  });

  it("whose gzip grows past the limit of objects is refused (D18)", async () => {
    const bomb = gzip(Buffer.concat([elf, Buffer.alloc(20 * 1024 * 1024)]));
    expect(await refusalOf(generic([file("x.o", bomb)]))).toMatch(/"x.o" is larger than 16777216 bytes/);
  });

  it("that names one small gzip a thousand times is refused before memory is (D18)", async () => {
    // Not all zeros, or the ratio of the one gzip would be refused already.
    const grown = gzip(
      Buffer.concat([elf, ...Array.from({ length: 8_000 }, (_, i) => Buffer.alloc(1_000, `${i}`))]),
    );
    const image = generic([file("x.o", grown)], {
      editManifest: (manifest) => ({
        ...manifest,
        layers: Array.from({ length: 1_000 }, (_, i) => ({
          ...manifest.layers[0],
          annotations: { "org.opencontainers.image.title": `${i}.o` },
        })),
      }),
    });
    expect(await refusalOf(image)).toMatch(/objects are larger than/);
  });
});

describe("several objects in one artifact (D11)", () => {
  const little = objectWith("pass", "little");
  const big = objectWith("pass", "big");

  it("are all kept, by their titles", async () => {
    const image = await extract(generic([file("a_bpfel.o", little), file("a_bpfeb.o", big)]));
    expect(image.objects.map(({ name, facts }) => [name, facts.byteOrder])).toEqual([
      ["a_bpfel.o", "little"],
      ["a_bpfeb.o", "big"],
    ]);
  });

  async function pulled(...layers: readonly ArtifactLayer[]) {
    const registry = await startRegistry();
    registry.add("org/prog:v1", generic(layers));
    const cache = await openTestCache();
    const reference = registry.reference("org/prog:v1");
    const readOn = async (platform: string, object?: string) => {
      await cache.pull(reference, { platform });
      return cache.bytecode(reference, { platform, object }).name;
    };
    return { cache, reference, readOn };
  }

  it("are chosen from by byte order", async () => {
    const { readOn } = await pulled(file("a_bpfel.o", little), file("a_bpfeb.o", big));
    expect(await readOn("linux/amd64")).toBe("a_bpfel.o");
    expect(await readOn("linux/s390x")).toBe("a_bpfeb.o");
  });

  it("are chosen from by the architecture in their names", async () => {
    const { readOn } = await pulled(
      file("p_x86_bpfel.o", objectWith("x")),
      file("p_arm64_bpfel.o", objectWith("a")),
      file("p_generic_bpfel.o", objectWith("g")),
    );
    expect(await readOn("linux/amd64")).toBe("p_x86_bpfel.o");
    expect(await readOn("linux/arm64")).toBe("p_arm64_bpfel.o");
    expect(await readOn("linux/riscv64")).toBe("p_generic_bpfel.o");
    expect(await readOn("linux/arm64", "p_x86_bpfel.o")).toBe("p_x86_bpfel.o");
  });

  it("that nothing tells apart have to be chosen from by name (D18)", async () => {
    const { cache, reference, readOn } = await pulled(
      file("a.o", objectWith("first")),
      file("b.o", objectWith("second")),
    );
    await expect(readOn("linux/amd64")).rejects.toMatchObject({
      code: "USAGE",
      found: "a.o (first); b.o (second)",
    });
    expect(await readOn("linux/amd64", "b.o")).toBe("b.o");
    expect(cache.bytecode(reference, { program: "first" }).name).toBe("a.o");
  });

  it("get names of their own when their titles are alike (D18)", async () => {
    const image = await extract(
      generic([file("x.o", objectWith("a")), file("x.o", objectWith("b")), file("x-2.o", objectWith("c"))]),
    );
    expect(objectNames(image)).toEqual(["x.o", "x-2.o", "x-2-2.o"]);
  });
});

describe("the title of an object", () => {
  it.each([
    ["../../etc/x.o", "etc/x.o"],
    ["/abs/x.o", "abs/x.o"],
    ["..\\x.o", "x.o"],
    ["./a//b/x.o", "a/b/x.o"],
    ["a\u001b[2J\nb.o", "a_[2J_b.o"],
    ["safe\u202Eo.cod.o", "safe_o.cod.o"],
    ["\ud800.o", "_.o"],
    ["", "program.o"],
    ["..", "program.o"],
    [`${"x".repeat(5_000)}.o`, `${"x".repeat(1_022)}.o`],
  ])("%j is the name %j", async (title, name) => {
    expect(objectNames(await extract(generic([file(title, elf)])))).toEqual([name]);
  });

  it("that is missing is program.o", async () => {
    expect(objectNames(await extract(generic([file(undefined, elf)])))).toEqual(["program.o"]);
  });
});

describe("an index of artifacts", () => {
  it("gives each platform its own, whether index or config names it", async () => {
    const registry = await startRegistry();
    const amd64 = generic([file("x.o", objectWith("amd"))]);
    const arm64 = generic([file("x.o", objectWith("arm"))]);
    registry.add(
      "org/prog:v1",
      imageIndex([
        { image: amd64, platform: "linux/amd64" },
        { image: arm64, platform: "linux/arm64" },
      ]),
    );
    const cache = await openTestCache();
    const image = await cache.pull(registry.reference("org/prog:v1"), { platform: "linux/arm64" });
    expect([image.manifestDigest, image.objects[0]?.programs[0]?.name]).toEqual([
      arm64.manifest.digest,
      "arm",
    ]);
  });
});
