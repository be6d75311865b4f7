import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import { openCache } from "../../src/index.js";
import type { PulledImage, SeedOptions } from "../../src/options.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { bpfmanLabels, bytecodeImage, imageIndex } from "../support/image-builder.js";
import { writeLayout } from "../support/layout.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";
import { execute } from "./images.js";

// D19: what images are carried in to a host without a network, written by the tools that people write it with.

const object = readFileSync(
  join(import.meta.dirname, "..", "..", "examples", "bpf", "objects", "xdp_pass.bpfel.o"),
);
const name = "quay.io/org/xdp-pass:v1";
const labels = bpfmanLabels({ xdp_pass: "xdp" });
const image = bytecodeImage({ objects: [{ path: "xdp_pass.o", bytes: object }], labels });
const arm = bytecodeImage({
  objects: [{ path: "xdp_pass.o", bytes: object }],
  labels,
  platform: "linux/arm64",
});
const index = imageIndex([{ image }, { image: arm }]);

let directory: TemporaryDirectory;
const path = (file: string): string => directory.join(file);

beforeAll(() => {
  directory = new TemporaryDirectory();
  writeLayout(path("layout"), [
    { name: "v1", root: image },
    { name: "all", root: index },
  ]);
});
afterAll(() => directory?.[Symbol.dispose]());

async function run(command: string, ...args: readonly string[]): Promise<string> {
  const { stdout } = await execute(command, args, { cwd: directory.path });
  return stdout.trim();
}

/** Seeds a file into an empty cache, where its one image must be the object byte for byte. */
async function seeded(file: string, options: SeedOptions = {}): Promise<PulledImage> {
  await using cache = await openCache({ platform: "linux/amd64" });
  const { images, failed } = await cache.seed([path(file)], { strict: true, ...options });
  expect(failed).toEqual([]);
  // buildah also writes the name that the image has in its own storage.
  expect(new Set(images.map(({ rootDigest }) => rootDigest)).size).toBe(1);
  const only = images.find(({ reference }) => reference === name) ?? images[0];
  if (only === undefined) throw new Error("nothing was taken in");
  const { bytes } = cache.bytecode(only.reference);
  expect(digestOf(bytes)).toBe(digestOf(object));
  return only;
}

/** The digest that skopeo has of what a transport names. */
async function inspected(what: string): Promise<string> {
  return digestOf(
    Buffer.from((await execute("skopeo", ["inspect", "--raw", what], { cwd: directory.path })).stdout),
  );
}

const missingSkopeo = requireTools("skopeo");
describe.skipIf(missingSkopeo)(`skopeo${missingSkopeo ?? ""}`, () => {
  it("writes an oci-archive of an image", async () => {
    await run("skopeo", "copy", "-q", "oci:layout:v1", `oci-archive:oci.tar:${name}`);
    const taken = await seeded("oci.tar");
    expect(taken).toMatchObject({ reference: name, from: "layout", rootDigest: image.root.digest });
    expect(taken.rootDigest).toBe(await inspected(`oci-archive:oci.tar:${name}`));
  });

  it("writes an oci-archive of an index, under a bare tag", async () => {
    await run("skopeo", "copy", "-q", "--all", "oci:layout:all", "oci-archive:index.tar:all");
    const taken = await seeded("index.tar", { as: "quay.io/org/xdp-pass" });
    expect(taken).toMatchObject({ reference: "quay.io/org/xdp-pass:all", rootDigest: index.root.digest });
    expect(taken.rootDigest).toBe(await inspected("oci-archive:index.tar:all"));
  });

  it("writes a docker-archive, whose manifest is the one that skopeo makes of it", async () => {
    await run("skopeo", "copy", "-q", "oci:layout:v1", `docker-archive:docker.tar:${name}`);
    const taken = await seeded("docker.tar");
    expect(taken).toMatchObject({ reference: name, from: "docker-archive", format: "bpfman" });
    expect(taken.rootDigest).toBe(await inspected("docker-archive:docker.tar"));
  });

  it.each(["zstd", "zstd:chunked"])("packs layers with %s", async (format) => {
    const compress = [`--dest-compress-format=${format}`, "--dest-compress-level=19", "--dest-compress"];
    const tag = format.replace(":", "-");
    await run("skopeo", "copy", "-q", ...compress, "oci:layout:v1", `oci:packed:${tag}`);
    await run("skopeo", "copy", "-q", `oci:packed:${tag}`, `oci-archive:${tag}.tar:${name}`);
    await using cache = await openCache({ platform: "linux/amd64" });
    await cache.seed([path(`${tag}.tar`)], { strict: true });
    expect(digestOf(cache.bytecode(name).bytes)).toBe(digestOf(object));
    expect(cache.inspect(name).layers).toMatchObject([
      { mediaType: "application/vnd.oci.image.layer.v1.tar+zstd" },
    ]);
  });

  it("writes a docker-archive without a name", async () => {
    await run("skopeo", "copy", "-q", "oci:layout:v1", "docker-archive:nameless.tar");
    const taken = await seeded("nameless.tar", { as: name });
    expect(taken).toMatchObject({ reference: name });
    expect(taken.rootDigest).toBe(await inspected("docker-archive:nameless.tar"));
  });
});

const missingTar = requireTools("tar", "gzip");
describe.skipIf(missingTar)(`GNU tar${missingTar ?? ""}`, () => {
  it.each([
    ["the files of a layout", ["cf", "files.tar", "-C", "single", "."], "files.tar"],
    ["a layout as one directory", ["cf", "whole.tar", "single"], "whole.tar"],
    ["it with gzip", ["czf", "whole.tgz", "single"], "whole.tgz"],
    ["it in the pax format", ["cf", "pax.tar", "--format=pax", "-C", "single", "."], "pax.tar"],
    ["it in the first ustar format", ["cf", "ustar.tar", "--format=ustar", "-C", "single", "."], "ustar.tar"],
  ])("packs %s", async (_, args, file) => {
    writeLayout(path("single"), [{ name, root: image }]);
    await run("tar", ...args);
    expect(await seeded(file)).toMatchObject({ reference: name, rootDigest: image.root.digest });
  });

  it("packs a directory that stands for all that is in it", async () => {
    mkdirSync(path("many"));
    writeLayout(path("many/layout"), [{ name, root: image }]);
    await run("tar", "czf", "many/copy.bin", "-C", "many/layout", ".");
    writeFileSync(path("many/README"), "not an image");
    await using cache = await openCache({ platform: "linux/amd64" });
    const { images, failed } = await cache.seed([path("many")]);
    expect(images.map(({ reference, from }) => [reference, from])).toEqual([
      [name, "layout"],
      [name, "cache"],
    ]);
    expect(failed).toEqual([]);
  });
});

const missingTarZstd = requireTools("tar", "zstd");
describe.skipIf(missingTarZstd)(`GNU tar with zstd${missingTarZstd ?? ""}`, () => {
  it.each([
    ["by default", []],
    ["hard, in several threads", ["-19", "-T2"]],
  ])("packs a layout, %s", async (_, options) => {
    writeLayout(path("zstd-layout"), [{ name, root: image }]);
    const program = ["zstd", ...options].join(" ");
    await run("tar", `--use-compress-program=${program}`, "-cf", "layout.tar.zst", "-C", "zstd-layout", ".");
    expect(await seeded("layout.tar.zst")).toMatchObject({ reference: name, rootDigest: image.root.digest });
  });

  it.skipIf(missingSkopeo)(`packs skopeo's docker-archive${missingSkopeo ?? ""}`, async () => {
    await run("skopeo", "copy", "-q", "oci:layout:v1", `docker-archive:to-pack.tar:${name}`);
    await run("zstd", "-q", "to-pack.tar");
    const taken = await seeded("to-pack.tar.zst");
    expect(taken.rootDigest).toBe(await inspected("docker-archive:to-pack.tar"));
  });
});

const missingBuildah = requireTools("buildah");
describe.skipIf(missingBuildah)(`buildah${missingBuildah ?? ""}`, () => {
  const storage = (): string[] => [
    "--storage-driver=vfs",
    `--root=${path("root")}`,
    `--runroot=${path("run")}`,
  ];

  beforeAll(async () => {
    mkdirSync(path("context"));
    writeFileSync(path("context/xdp_pass.o"), object);
    const lines = Object.entries(labels).map(([key, value]) => `LABEL "${key}"='${value}'`);
    writeFileSync(
      path("context/Containerfile"),
      ["FROM scratch", ...lines, "COPY xdp_pass.o /", ""].join("\n"),
    );
    await run(
      "buildah",
      ...storage(),
      "build",
      "--isolation=chroot",
      "--platform=linux/amd64",
      "-t",
      "built",
      "context",
    );
  });

  it.each(["oci-archive", "docker-archive"])("pushes to %s", async (transport) => {
    const file = `buildah-${transport}.tar`;
    await run("buildah", ...storage(), "push", "-q", "built", `${transport}:${file}:${name}`);
    const taken = await seeded(file);
    expect(taken).toMatchObject({ reference: name, format: "bpfman" });
    if (missingSkopeo === undefined)
      expect(taken.rootDigest).toBe(
        await inspected(`${transport}:${file}${transport === "oci-archive" ? `:${name}` : ""}`),
      );
  });
});

const missingUmoci = requireTools("umoci", "skopeo");
describe.skipIf(missingUmoci)(`umoci${missingUmoci ?? ""}`, () => {
  const umoci = (...words: string[]): Promise<string> => run("umoci", ...words);
  const tag = "umoci:v1";

  beforeAll(async () => {
    await umoci("init", "--layout", "umoci");
    await umoci("new", "--image", tag);
    const settings = Object.entries(labels).map(([key, value]) => `--config.label=${key}=${value}`);
    await umoci("config", "--image", tag, "--os=linux", "--architecture=amd64", ...settings);
  });

  it("packs a layout, and every step before the last is no image of its own", async () => {
    await umoci("unpack", "--image", tag, "bundle");
    writeFileSync(path("bundle/rootfs/xdp_pass.o"), object);
    await umoci("repack", "--image", tag, "bundle");
    const taken = await seeded("umoci", { as: "quay.io/org/xdp-pass" });
    expect(taken).toMatchObject({ reference: name, format: "bpfman" });
    expect(taken.rootDigest).toBe(await inspected("oci:umoci:v1"));
    await run("tar", "czf", "umoci.tgz", "-C", "umoci", ".");
    const { rootDigest } = await seeded("umoci.tgz", { as: "quay.io/org/xdp-pass" });
    expect(rootDigest).toBe(taken.rootDigest);
  });
});

const missingRegistry = requireTools("docker-registry", "skopeo");
describe.skipIf(missingRegistry)(`from a registry${missingRegistry ?? ""}`, () => {
  let registry: DockerRegistry;
  let reference: string;
  beforeAll(async () => {
    registry = await DockerRegistry.start();
    reference = registry.reference("org/xdp-pass:v1");
    await run(
      "skopeo",
      "copy",
      "-q",
      "--all",
      "--dest-tls-verify=false",
      "oci:layout:all",
      `docker://${reference}`,
    );
  });
  afterAll(() => registry?.[Symbol.asyncDispose]());

  const missingOras = requireTools("oras");
  it.skipIf(missingOras)(`oras copies to a layout${missingOras ?? ""}`, async () => {
    await run("oras", "copy", "--from-plain-http", "--to-oci-layout", reference, "oras:v1");
    const taken = await seeded("oras", { as: "quay.io/org/xdp-pass" });
    expect(taken).toMatchObject({ reference: name, rootDigest: index.root.digest });
  });

  it.skipIf(missingOras)(
    `oras backs up to an archive, with what refers to the image${missingOras ?? ""}`,
    async () => {
      writeFileSync(path("note.txt"), "signed");
      const attach = ["attach", "--plain-http", "--artifact-type", "application/vnd.example.note"];
      await run("oras", ...attach, reference, "note.txt:text/plain");
      await run("oras", "backup", "--plain-http", "--include-referrers", "--output", "backup.tar", reference);
      const taken = await seeded("backup.tar", { as: "quay.io/org/xdp-pass" });
      expect(taken).toMatchObject({ reference: name, rootDigest: index.root.digest });
    },
  );

  const missingCrane = requireTools("crane");
  it.skipIf(missingCrane)(`crane pulls a layout${missingCrane ?? ""}`, async () => {
    await run("crane", "pull", "--format=oci", reference, "crane");
    const taken = await seeded("crane", { as: name });
    expect(taken).toMatchObject({ reference: name, rootDigest: index.root.digest });
  });

  it.skipIf(missingCrane)(`crane pulls a tarball, whose layers are packed${missingCrane ?? ""}`, async () => {
    await run("crane", "pull", "--platform=linux/amd64", reference, "crane.tar");
    const taken = await seeded("crane.tar");
    expect(taken).toMatchObject({ reference, from: "docker-archive" });
    expect(taken.rootDigest).toBe(await inspected("docker-archive:crane.tar"));
  });
});
