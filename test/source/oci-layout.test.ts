import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Digest } from "../../src/core/digest.js";
import { parseReference } from "../../src/core/reference.js";
import { parseGivenName } from "../../src/source/layout/names.js";
import { OciLayoutSource } from "../../src/source/oci-layout.js";
import { bytecodeImage, imageIndex, writeLayout } from "../support/image-builder.js";
import { describeImageSource } from "./conformance.js";

const reference = parseReference("registry.example/org/prog:v1");
const image = bytecodeImage();

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfcache-layout-"));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

function blobPath(digest: Digest): string {
  return join(directory, "blobs", digest.replace(":", "/"));
}

describeImageSource("an OCI layout", async (root, statements = []) => {
  const about = statements.map(({ root: statement, tag }) => ({
    root: statement,
    ...(tag === undefined ? {} : { name: `${reference.name}:${tag}` }),
  }));
  writeLayout(directory, [{ name: reference.toString(), root }, ...about]);
  const source = await OciLayoutSource.open(directory);
  return {
    source,
    reference,
    replace: (digest, bytes) => writeFileSync(blobPath(digest), bytes),
    [Symbol.asyncDispose]: () => source.close(),
  };
});

async function namesIn(entries: Parameters<typeof writeLayout>[1], as?: string): Promise<string[]> {
  writeLayout(directory, entries);
  const givenName = as === undefined ? undefined : parseGivenName(as);
  const source = await OciLayoutSource.open(directory, { givenName });
  return source.references().map(String);
}

const other = bytecodeImage({ labels: { other: "image" } });

describe("names in a layout", () => {
  const containerd = { "io.containerd.image.name": "quay.io/org/prog:v2" };

  it("are whole references", async () => {
    expect(await namesIn([{ name: "quay.io/org/prog:v1", root: image }])).toEqual(["quay.io/org/prog:v1"]);
  });

  it("are containerd's where it wrote them", async () => {
    expect(await namesIn([{ name: "v2", root: image, annotations: containerd }])).toEqual([
      "quay.io/org/prog:v2",
    ]);
  });

  it("are tags of the repository that is given", async () => {
    expect(await namesIn([{ name: "v3", root: image }], "quay.io/org/prog")).toEqual(["quay.io/org/prog:v3"]);
  });

  it("that are tags without a repository are all told", async () => {
    const entries = [{ name: "v3", root: image }, { name: "v4", root: other }, { root: image }];
    await expect(namesIn(entries)).rejects.toMatchObject({
      code: "USAGE",
      message: expect.stringMatching(/: v3, v4$/),
    });
  });

  it.each([
    ["the given tag instead of the only one", [{ name: "v3", root: image }], "quay.io/org/prog:v9", "v9"],
    ["the given tag when there is no name", [{ root: image }], "quay.io/org/prog:v9", "v9"],
    ["latest when there is no name and no tag", [{ root: image }], "quay.io/org/prog", "latest"],
  ])("are %s", async (_, entries, as, tag) => {
    expect(await namesIn(entries, as)).toEqual([`quay.io/org/prog:${tag}`]);
  });

  it.each([
    [
      "two tags and a given one",
      [
        { name: "a", root: image },
        { name: "b", root: other },
      ],
      "quay.io/org/prog:v9",
    ],
    ["two images without any", [{ root: image }, { root: other }], "quay.io/org/prog"],
    ["no name at all", [{ root: image }], undefined],
  ])("are missing with %s", async (_, entries, as) => {
    await expect(namesIn(entries, as)).rejects.toMatchObject({ code: "USAGE" });
  });

  it("are those of an index and not of its children, which Inspektor Gadget lists beside it", async () => {
    const index = imageIndex([{ image }, { image: other, platform: "linux/arm64" }]);
    expect(await namesIn([{ root: image }, { root: index }, { root: other }], "quay.io/org/prog")).toEqual([
      "quay.io/org/prog:latest",
    ]);
    expect(await namesIn([{ name: "quay.io/org/prog:v1", root: index }, { root: image }])).toEqual([
      "quay.io/org/prog:v1",
    ]);
  });

  it("are a fault when two images have the same", async () => {
    const entries = [image, other].map((root) => ({ name: "quay.io/org/prog:v1", root }));
    await expect(namesIn(entries)).rejects.toMatchObject({ code: "INVALID_IMAGE" });
  });

  it("leave out the tags of signatures", async () => {
    const signature = `sha256-${"0".repeat(64)}`;
    const names = ["v1", `${signature}.sig`, signature].map((tag) => ({
      name: `quay.io/org/prog:${tag}`,
      root: image,
    }));
    expect(await namesIn(names)).toEqual(["quay.io/org/prog:v1"]);
    await expect(namesIn([{ name: `${signature}.att`, root: image }])).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  it("that are no references are refused", async () => {
    await expect(namesIn([{ name: "quay.io/Org/prog", root: image }])).rejects.toMatchObject({
      code: "USAGE",
    });
  });
});

describe("what is not a layout", () => {
  it("is NOT_FOUND when it has no oci-layout file", async () => {
    await expect(OciLayoutSource.open(directory)).rejects.toMatchObject({ code: "NOT_FOUND" });
    await expect(OciLayoutSource.open(join(directory, "absent"))).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  it.each(["{", "[]", '{"schemaVersion":2}', '{"schemaVersion":2,"manifests":[{"digest":"sha256:../x"}]}'])(
    "is INVALID_IMAGE when its index is %s",
    async (index) => {
      writeLayout(directory, []);
      writeFileSync(join(directory, "index.json"), index);
      await expect(OciLayoutSource.open(directory)).rejects.toMatchObject({ code: "INVALID_IMAGE" });
    },
  );

  it("is INVALID_IMAGE when its version is unknown", async () => {
    writeLayout(directory, []);
    writeFileSync(join(directory, "oci-layout"), '{"imageLayoutVersion":"9.0.0"}');
    await expect(OciLayoutSource.open(directory)).rejects.toMatchObject({ code: "INVALID_IMAGE" });
  });
});

describe("a blob that is not a regular file", () => {
  async function withBlob(plant: (path: string) => void): Promise<OciLayoutSource> {
    writeLayout(directory, [{ name: reference.toString(), root: image }]);
    const path = blobPath(image.root.digest);
    rmSync(path);
    plant(path);
    return OciLayoutSource.open(directory);
  }

  it("is refused as a symbolic link, even to the right bytes", async () => {
    const target = join(directory, "outside");
    writeFileSync(target, image.root.bytes);
    const source = await withBlob((path) => symlinkSync(target, path));
    await expect(source.resolve(reference)).rejects.toMatchObject({ code: "INVALID_IMAGE" });
  });

  it("is refused as a directory", async () => {
    const source = await withBlob((path) => mkdirSync(path));
    await expect(source.resolve(reference)).rejects.toMatchObject({ code: "INVALID_IMAGE" });
  });
});
