import { execFile } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { endianness, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import { mediaTypes } from "../../src/image/media-types.js";
import { openCache, openReader } from "../../src/index.js";
import { bytecodeImage } from "../support/image-builder.js";
import { requireKernel, requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";

// Images made by others' tools, served by the registry that Debian ships, read by this library and command line,
// and loaded by the kernel. The demo does the same with our own registry.

const root = join(import.meta.dirname, "..", "..");
const layout = join(root, "examples", "layout");
const objects = join(root, "examples", "bpf", "objects");
const order = endianness() === "LE" ? "bpfel" : "bpfeb";
const execute = promisify(execFile);

let scratch: string;
beforeAll(() => {
  scratch = mkdtempSync(join(tmpdir(), "bpfcache-real-"));
});
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

const missing = requireTools("docker-registry", "skopeo", "oras", "crane");
const kernel = requireKernel();

/** Image, the object it must hold for this host, and its program. */
const pushed = [
  { name: "by-oras/xdp-counter:v1", how: "oras", object: `xdp_counter.${order}.o`, program: "xdp_counter" },
  { name: "by-skopeo/xdp-pass:v1", how: "skopeo", object: "xdp_pass.bpfel.o", program: "xdp_pass" },
  {
    name: "by-skopeo/xdp-counter:v1",
    how: "skopeo, an index",
    object: `xdp_counter.${order}.o`,
    program: "xdp_counter",
  },
  {
    name: "docker/tracepoint-counter:v1",
    how: "skopeo, Docker's schema 2 with a manifest list",
    object: `tracepoint_counter.${order}.o`,
    program: "count_exec",
  },
];

describe.skipIf(missing)(`images in Debian's docker-registry${missing ?? ""}`, () => {
  let registry: DockerRegistry;

  beforeAll(async () => {
    registry = await DockerRegistry.start();
    await pushWithOras("by-oras/xdp-counter:v1", `xdp_counter.${order}.o`);
    await copyFromLayout("xdp-pass", "by-skopeo/xdp-pass:v1");
    await copyFromLayout("xdp-counter", "by-skopeo/xdp-counter:v1", "--all");
    await copyFromLayout("tracepoint-counter", "docker/tracepoint-counter:v1", "--all", "--format=v2s2");
  });

  afterAll(() => registry?.[Symbol.asyncDispose]());

  /** bpfman's format as its documentation has oras push it: a config with labels and one tar+gzip layer. */
  async function pushWithOras(name: string, object: string): Promise<void> {
    const { config, layers } = bytecodeImage({
      objects: [{ path: object, bytes: readFileSync(join(objects, object)) }],
      labels: {
        "io.ebpf.programs": '{"xdp_counter":"xdp"}',
        "io.ebpf.maps": '{"packet_counts":"per_cpu_array"}',
      },
    });
    const directory = join(scratch, "oras");
    mkdirSync(directory);
    writeFileSync(join(directory, "config.json"), config.bytes);
    writeFileSync(join(directory, "layer.tgz"), layers[0]?.bytes ?? "");
    const files = [`--config=config.json:${mediaTypes.ociConfig}`, `layer.tgz:${mediaTypes.ociLayerGzip}`];
    await execute("oras", ["push", "--plain-http", registry.reference(name), ...files], { cwd: directory });
  }

  async function copyFromLayout(image: string, name: string, ...options: string[]): Promise<void> {
    const from = `oci:${layout}:registry.example/bpfcache/${image}:v1`;
    const to = `docker://${registry.reference(name)}`;
    await execute("skopeo", ["copy", "--dest-tls-verify=false", ...options, from, to]);
  }

  /** The digest of a document as skopeo gets it, over its bytes. */
  async function rawDigest(reference: string): Promise<string> {
    const { stdout } = await execute(
      "skopeo",
      ["inspect", "--raw", "--tls-verify=false", `docker://${reference}`],
      {
        encoding: "buffer",
      },
    );
    return digestOf(stdout);
  }

  describe.each(pushed)("pushed by $how", ({ name, object, program }) => {
    it("is pulled with the digests that skopeo and crane see, and the object byte for byte", async () => {
      const reference = registry.reference(name);
      await using cache = await openCache();
      const image = await cache.pull(reference);

      expect(image.rootDigest).toBe(await rawDigest(reference));
      expect((await execute("crane", ["digest", "--insecure", reference])).stdout.trim()).toBe(
        image.rootDigest,
      );
      const manifest = `${reference.replace(/:v1$/, "")}@${image.manifestDigest}`;
      expect(image.manifestDigest).toBe(await rawDigest(manifest));

      const { bytes, digest, programs } = cache.bytecode(reference);
      expect(Buffer.from(bytes)).toEqual(readFileSync(join(objects, object)));
      expect(digest).toBe(digestOf(bytes));
      expect(programs.map((entry) => entry.name)).toEqual([program]);
    });

    it("is pulled by the command line, and loaded by the kernel from another process", async () => {
      const directory = mkdtempSync(join(scratch, "cache-"));
      const reference = registry.reference(name);
      const cli = join(root, "dist", "packed", "main.js");
      const { stdout } = await execute(process.execPath, [
        cli,
        "pull",
        reference,
        "--json",
        "--cache-dir",
        directory,
      ]);
      expect(JSON.parse(stdout)).toMatchObject({
        reference,
        from: "registry",
        rootDigest: await rawDigest(reference),
        objects: [{ digest: digestOf(readFileSync(join(objects, object))) }],
      });

      const loader = join(root, "examples", "loader.js");
      const loaded = await execute(process.execPath, [loader, directory, reference]);
      expect(loaded.stdout).toContain(`programs         ${program} (`);
      if (kernel === undefined) {
        expect(loaded.stdout).toMatch(
          new RegExp(`^kernel program {3}id \\d+, name ${program}, tag [0-9a-f]{16}`, "m"),
        );
        expect(loaded.stdout).toContain("unloaded");
      } else {
        expect(loaded.stdout).toContain("kernel program   not loaded: ");
      }
    });
  });

  it("choose their manifest by platform, from OCI indexes and Docker lists alike", async () => {
    await using cache = await openCache();
    for (const [name, object] of [
      ["by-skopeo/xdp-counter:v1", "xdp_counter.bpfeb.o"],
      ["docker/tracepoint-counter:v1", "tracepoint_counter.bpfeb.o"],
    ] as const) {
      const reference = registry.reference(name);
      const image = await cache.pull(reference, { platform: "linux/s390x" });
      const seen = await execute("crane", ["digest", "--insecure", "--platform=linux/s390x", reference]);
      expect(image.manifestDigest).toBe(seen.stdout.trim());
      const { bytes } = cache.bytecode(reference, { platform: "linux/s390x" });
      expect(Buffer.from(bytes)).toEqual(readFileSync(join(objects, object)));
    }
    expect(
      cache.inspect(registry.reference("docker/tracepoint-counter:v1"), { platform: "linux/s390x" }),
    ).toMatchObject({
      rootMediaType: mediaTypes.dockerList,
      layers: [{ mediaType: mediaTypes.dockerLayerGzip }],
    });
  });

  it("cost three requests, four through an index, none when cached and one when asked again", async () => {
    await using cache = await openCache();
    const single = registry.reference("by-skopeo/xdp-pass:v1");
    const index = registry.reference("by-skopeo/xdp-counter:v1");
    const requests = async (reference: string, pullPolicy: "Always" | "IfNotPresent") =>
      (await cache.pull(reference, { pullPolicy })).requests;
    expect(await requests(single, "IfNotPresent")).toBe(3);
    expect(await requests(index, "IfNotPresent")).toBe(4);
    expect(await requests(index, "IfNotPresent")).toBe(0);
    expect(await requests(index, "Always")).toBe(1);
  });

  it("are pulled with a digest that beats the tag, and are refused under one that is not there", async () => {
    await using cache = await openCache();
    const reference = registry.reference("by-skopeo/xdp-pass:v1");
    const digest = await rawDigest(reference);
    const image = await cache.pull(`${reference.replace(/:v1$/, ":no-such-tag")}@${digest}`);
    expect(image.rootDigest).toBe(digest);
    await expect(cache.pull(`${reference}@sha256:${"0".repeat(64)}`)).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
    await expect(cache.pull(registry.reference("no/such-image:v1"))).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  it("are read from the cache after the registry has gone", async () => {
    const directory = mkdtempSync(join(scratch, "cache-"));
    let reference: string;
    {
      await using gone = await DockerRegistry.start();
      reference = gone.reference("org/xdp-pass:v1");
      const to = `docker://${reference}`;
      await execute("skopeo", [
        "copy",
        "--dest-tls-verify=false",
        `oci:${layout}:registry.example/bpfcache/xdp-pass:v1`,
        to,
      ]);
      await using cache = await openCache({ directory });
      await cache.pull(reference);
    }
    await using cache = await openCache({ directory });
    expect(await cache.pull(reference)).toMatchObject({ from: "cache", requests: 0 });
    await expect(cache.pull(reference, { pullPolicy: "Always" })).rejects.toMatchObject({
      code: "UNREACHABLE",
    });
    const reader = openReader({ directory });
    expect(Buffer.from(reader.bytecode(reference).bytes)).toEqual(
      readFileSync(join(objects, "xdp_pass.bpfel.o")),
    );
    reader.close();
  });
});
