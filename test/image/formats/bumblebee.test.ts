import { describe, expect, it } from "vitest";
import { artifact } from "../../support/artifact-builder.js";
import { minimalBpfElf } from "../../support/image-builder.js";
import { extract, refusalOf } from "./support.js";

const config = { mediaType: "application/ebpf.oci.image.config.v1+json", bytes: "{}", title: "config.json" };
const program = "application/ebpf.oci.image.program.v1+binary";
const elf = minimalBpfElf();
const image = artifact({
  config,
  layers: [{ mediaType: program, bytes: elf, title: "program.o" }],
  annotations: { "org.opencontainers.image.authors": "me" },
});

describe("an image of BumbleBee (D8)", () => {
  it("is its raw program.o, and tells that it names no architecture", async () => {
    expect(await extract(image)).toMatchObject({
      format: "bumblebee",
      platform: undefined,
      labels: { "org.opencontainers.image.authors": "me" },
      objects: [{ name: "program.o" }],
      attachments: [{ name: "config.json", kind: "metadata", size: 2 }],
      warnings: ["the image does not say what architecture it is for"],
    });
  });

  it("is taken when strict: what it does not say contradicts nothing", async () => {
    expect((await extract(image, { strict: true })).objects).toHaveLength(1);
  });

  it("needs no such warning where an index says it", async () => {
    const entryPlatform = { os: "linux", architecture: "amd64" };
    expect(await extract(image, { entryPlatform })).toMatchObject({ platform: entryPlatform, warnings: [] });
  });

  it("is told by its layer alone", async () => {
    expect(await extract(artifact({ layers: [{ mediaType: program, bytes: elf }] }))).toMatchObject({
      format: "bumblebee",
      objects: [{ name: "program.o" }],
    });
  });

  it("for the other byte order is a PLATFORM_MISMATCH", async () => {
    await expect(extract(image, { platform: "linux/s390x" })).rejects.toMatchObject({
      code: "PLATFORM_MISMATCH",
    });
  });

  it("without an object is refused by name", async () => {
    const layers = [{ mediaType: program, bytes: "not an object", title: "program.o" }];
    expect(await refusalOf(artifact({ config, layers }))).toMatch(
      /the BumbleBee image holds no eBPF object.*program\.o/,
    );
  });
});
