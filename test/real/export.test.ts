import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BytecodeCache, openCache } from "../../src/index.js";
import { attached, keepStatements, tagged } from "../bundle/statements.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import type { TestRoot } from "../support/image-builder.js";
import { writeLayout } from "../support/image-builder.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";
import { execute, imageNamed, indexNamed } from "./images.js";

// What others' tools make of an export: each takes it as it is, and what arrives has the digests that left.

const missing = requireTools("docker-registry", "skopeo", "oras", "crane");
const noBuildah = requireTools("buildah");
const noPodman = requireTools("podman");

const single = { reference: "quay.example/org/single:v1", root: imageNamed("single") };
const index = { reference: "quay.example/org/index:v2", root: indexNamed("index") };
const arm64 = index.root.children[1]?.root.digest;

describe.skipIf(missing)(`an export${missing ?? ""}`, () => {
  const directory = new TemporaryDirectory();
  let registry: DockerRegistry;

  beforeAll(async () => {
    registry = await DockerRegistry.start();
  });

  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    directory[Symbol.dispose]();
  });

  let made = 0;
  async function cacheWith(
    image: { readonly reference: string; readonly root: TestRoot },
    allPlatforms: boolean,
  ): Promise<BytecodeCache> {
    const layout = directory.join(`source-${made++}`);
    writeLayout(layout, [{ name: image.reference, root: image.root }]);
    const cache = await openCache({ platform: "linux/amd64" });
    const { failed } = await cache.seed([layout], { allPlatforms });
    expect(failed).toEqual([]);
    return cache;
  }

  /** The path of an export of one image. */
  async function exported(
    image: { readonly reference: string; readonly root: TestRoot },
    name: string,
    options: { readonly allPlatforms?: boolean; readonly format?: "docker-archive" } = {},
  ): Promise<string> {
    await using cache = await cacheWith(image, options.allPlatforms ?? true);
    const output = directory.join(`${made++}-${name}`);
    const { failed } = await cache.export([image.reference], { output, format: options.format });
    expect(failed).toEqual([]);
    return output;
  }

  /** The digest of what a registry answers with, computed from its bytes. */
  async function digestAt(repository: string): Promise<string> {
    const { stdout } = await execute("crane", [
      "manifest",
      "--insecure",
      registry.reference(`${repository}:v1`),
    ]);
    return `sha256:${createHash("sha256").update(stdout).digest("hex")}`;
  }

  const cases = [
    { image: single, tag: "v1", name: "single" },
    { image: index, tag: "v2", name: "index" },
  ];
  const forms = [
    { file: "layout", skopeo: "oci" },
    { file: "archive.tar", skopeo: "oci-archive" },
  ];

  describe.each(cases)("of $name", ({ image, tag, name }) => {
    it.each(forms)("is copied by skopeo: $skopeo", async ({ file, skopeo }) => {
      const path = await exported(image, file);
      const to = `${name}/${skopeo}`;
      const args = ["copy", "--all", "--dest-tls-verify=false", `${skopeo}:${path}:${tag}`];
      await execute("skopeo", [...args, `docker://${registry.reference(`${to}:v1`)}`]);
      expect(await digestAt(to)).toBe(image.root.root.digest);
    });

    it.each(forms)("is copied by oras: $file", async ({ file }) => {
      const path = await exported(image, file);
      const to = `${name}/oras-${file}`;
      const args = ["cp", "--from-oci-layout", "--to-plain-http", `${path}:${tag}`];
      await execute("oras", [...args, registry.reference(`${to}:v1`)]);
      expect(await digestAt(to)).toBe(image.root.root.digest);
    });

    it("is pushed by crane", async () => {
      const path = await exported(image, "layout");
      await execute("crane", ["push", "--insecure", path, registry.reference(`${name}/crane:v1`)]);
      expect(await digestAt(`${name}/crane`)).toBe(image.root.root.digest);
    });

    it.skipIf(noBuildah)(`is pulled by buildah${noBuildah ?? ""}`, async () => {
      const path = await exported(image, "archive.tar");
      const { stdout } = await execute("buildah", [
        ...storage(),
        "pull",
        "--quiet",
        `oci-archive:${path}:${tag}`,
      ]);
      expect(stdout.trim()).toBe(configOf(image.root));
    });

    it.skipIf(noPodman)(`is loaded by podman under its own name${noPodman ?? ""}`, async () => {
      const path = await exported(image, "archive.tar");
      const { stdout } = await execute("podman", [...storage(), "load", "--input", path]);
      expect(stdout).toContain(image.reference);
    });
  });

  describe("of one platform of an index", () => {
    const sparse = (file: string): Promise<string> => exported(index, file, { allPlatforms: false });

    it("gives that platform to skopeo and oras", async () => {
      const path = await sparse("layout");
      const to = registry.reference("sparse/skopeo:v1");
      const platform = ["--override-os=linux", "--override-arch=amd64"];
      await execute("skopeo", [
        ...platform,
        "copy",
        "--dest-tls-verify=false",
        `oci:${path}:v2`,
        `docker://${to}`,
      ]);
      const amd64 = index.root.children[0]?.root.digest;
      expect(await digestAt("sparse/skopeo")).toBe(amd64);
      const oras = ["cp", "--from-oci-layout", "--to-plain-http", "--platform=linux/amd64", `${path}:v2`];
      await execute("oras", [...oras, registry.reference("sparse/oras:v1")]);
      expect(await digestAt("sparse/oras")).toBe(amd64);
    });

    it.skipIf(noPodman)(`is loaded by podman under its own name${noPodman ?? ""}`, async () => {
      const path = await sparse("archive.tar");
      const { stdout } = await execute("podman", [...storage(), "load", "--input", path]);
      expect(stdout).toContain(index.reference);
    });

    it("does not pass for all of it", async () => {
      const path = await sparse("layout");
      const args = ["copy", "--all", "--dest-tls-verify=false", `oci:${path}:v2`];
      const copying = execute("skopeo", [...args, `docker://${registry.reference("sparse/all:v1")}`]);
      await expect(copying).rejects.toThrow(arm64?.replace("sha256:", ""));
    });
  });

  describe("as a docker-archive", () => {
    it("is validated and pushed by crane, and read by skopeo under its name", async () => {
      const path = await exported(single, "image.tar", { format: "docker-archive" });
      await execute("crane", ["validate", "--tarball", path]);
      await execute("crane", ["push", "--insecure", path, registry.reference("docker/crane:v1")]);
      const { stdout } = await execute("skopeo", [
        "inspect",
        "--config",
        `docker-archive:${path}:${single.reference}`,
      ]);
      expect(JSON.parse(stdout)).toMatchObject({
        config: { Labels: { "io.ebpf.programs": '{"single":"xdp"}' } },
      });
    });

    it.skipIf(noPodman)(`is loaded by podman under its own name${noPodman ?? ""}`, async () => {
      const path = await exported(single, "image.tar", { format: "docker-archive" });
      const { stdout } = await execute("podman", [...storage(), "load", "--input", path]);
      expect(stdout).toContain(single.reference);
    });

    it.skipIf(noBuildah)(`is pulled by buildah as the same image${noBuildah ?? ""}`, async () => {
      const path = await exported(single, "image.tar", { format: "docker-archive" });
      const { stdout } = await execute("buildah", [
        ...storage(),
        "pull",
        "--quiet",
        `docker-archive:${path}`,
      ]);
      expect(stdout.trim()).toBe(configOf(single.root));
    });
  });

  it("has signatures where oras and crane find them", async () => {
    const kept = directory.join("signed");
    const layout = directory.join("signed-source");
    writeLayout(layout, [{ name: single.reference, root: single.root }]);
    await using cache = await openCache({ directory: kept, platform: "linux/amd64" });
    await cache.seed([layout]);
    const type = "application/vnd.dev.sigstore.bundle.v0.3+json";
    const bundle = attached(type, single.root.root, "a bundle");
    const legacy = tagged(
      "application/vnd.dev.cosign.simplesigning.v1+json",
      single.root.root,
      "a signature",
    );
    keepStatements(kept, [bundle, legacy]);
    const output = directory.join("signed-layout");
    await cache.export([single.reference], { output });
    const discover = ["discover", "--oci-layout", "--format", "json", `${output}:v1`];
    const { stdout } = await execute("oras", discover);
    expect(JSON.parse(stdout)).toMatchObject({
      referrers: [{ digest: bundle.manifest.digest, artifactType: type }],
    });
    const target = registry.reference("signed/oras:v1");
    await execute("oras", [
      "cp",
      "--recursive",
      "--from-oci-layout",
      "--to-plain-http",
      `${output}:v1`,
      target,
    ]);
    const found = await execute("oras", ["discover", "--plain-http", "--format", "json", target]);
    expect(found.stdout).toContain(bundle.manifest.digest);
    const tag = `${single.root.root.digest.replace(":", "-")}.sig`;
    const to = ["--dest-tls-verify=false", `docker://${registry.reference(`signed/skopeo:${tag}`)}`];
    await execute("skopeo", ["copy", `oci:${output}:${tag}`, ...to]);
    const digest = await execute("crane", [
      "digest",
      "--insecure",
      registry.reference(`signed/skopeo:${tag}`),
    ]);
    expect(digest.stdout.trim()).toBe(legacy.manifest.digest);
  });

  it("is the same archive that tar would list, with nothing odd about it", async () => {
    const path = await exported(index, "archive.tar");
    const { stdout, stderr } = await execute("tar", [
      "--list",
      "--verbose",
      "--numeric-owner",
      "--utc",
      "--file",
      path,
    ]);
    const lines = stdout.trimEnd().split("\n");
    expect(stderr).toBe("");
    for (const line of lines) expect(line).toMatch(/^-rw-r--r-- 0\/0 +\d+ 1970-01-01 00:00 \S+$/);
    expect(lines).toHaveLength(index.root.blobs.size + index.root.manifests.size + 3);
    expect(readFileSync(path).length % 512).toBe(0);
  });

  /** Images are kept apart from the user's own, and in a form that needs no file system of its own. */
  function storage(): string[] {
    const root = directory.join("storage");
    return ["--root", root, "--runroot", directory.join("run"), "--storage-driver", "vfs"];
  }

  /** What a container engine calls an image: the digest of its config. */
  function configOf(root: TestRoot): string | undefined {
    const image = root.kind === "index" ? root.children[0] : root;
    return image?.kind === "image" ? image.config.digest.replace("sha256:", "") : undefined;
  }
});
