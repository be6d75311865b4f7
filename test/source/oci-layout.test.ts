import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Digest } from "../../src/core/digest.js";
import { parseReference } from "../../src/core/reference.js";
import { OciLayoutSource } from "../../src/source/oci-layout.js";
import { bytecodeImage, writeLayout } from "../support/image-builder.js";
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

describeImageSource("an OCI layout", async (root) => {
  writeLayout(directory, [{ name: reference.toString(), root }]);
  const source = await OciLayoutSource.open(directory);
  return {
    source,
    reference,
    replace: (digest, bytes) => writeFileSync(blobPath(digest), bytes),
    [Symbol.asyncDispose]: () => source.close(),
  };
});

async function namesIn(entries: Parameters<typeof writeLayout>[1], repository?: string): Promise<string[]> {
  writeLayout(directory, entries);
  const source = await OciLayoutSource.open(directory, { repository });
  return source.list().map((entry) => entry.reference.toString());
}

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

  it("are told apart when no repository is given", async () => {
    writeLayout(directory, [{ name: "v3", root: image }, { root: image }]);
    const source = await OciLayoutSource.open(directory);
    expect([source.list(), source.bareTags]).toEqual([[], ["v3"]]);
  });

  it("leave out the tags of signatures", async () => {
    const signature = `sha256-${"0".repeat(64)}`;
    const names = ["v1", `${signature}.sig`, signature].map((tag) => ({
      name: `quay.io/org/prog:${tag}`,
      root: image,
    }));
    expect(await namesIn(names)).toEqual(["quay.io/org/prog:v1"]);
    expect(await namesIn([{ name: `${signature}.att`, root: image }])).toEqual([]);
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
