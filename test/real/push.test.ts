import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BytecodeCache, openCache, type PushedObject } from "../../src/index.js";
import { User } from "../cli/command.js";
import { failureOf } from "../pull/support.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";

const execute = promisify(execFile);
const missing = requireTools("docker-registry", "oras", "skopeo");
const objects = new URL("../../examples/bpf/objects/", import.meta.url);

function object(name: string, platform: string): PushedObject {
  return { name, bytes: readFileSync(new URL(name, objects)), platform };
}

const little = object("xdp_counter.bpfel.o", "linux/amd64");
const three = [little, { ...little, platform: "linux/arm64" }, object("xdp_counter.bpfeb.o", "linux/s390x")];

describe.skipIf(missing)(`push${missing ?? ""}`, { timeout: 120_000 }, () => {
  let registry: DockerRegistry;
  let cache: BytecodeCache;

  beforeAll(async () => {
    registry = await DockerRegistry.start();
    cache = await openCache({ platform: "linux/amd64" });
  });

  afterAll(async () => {
    await cache.close();
    await registry[Symbol.asyncDispose]();
  });

  async function skopeo(...args: string[]): Promise<string> {
    return (await execute("skopeo", [...args])).stdout;
  }

  it("of three objects makes an index that is pulled back, each platform with its object", async () => {
    const reference = registry.reference("pushed/three:v1");
    const { rootDigest } = await cache.push(reference, { objects: three });
    for (const { platform, bytes } of three) {
      const image = await cache.pull(reference, { platform, strict: true });
      expect(image).toMatchObject({ rootDigest, platform, format: "bpfman" });
      expect(Buffer.from(cache.bytecode(reference, { platform }).bytes).equals(Buffer.from(bytes))).toBe(
        true,
      );
    }
  });

  it("follows bpfman's specification, as skopeo sees it", async () => {
    const reference = registry.reference("pushed/one:v1");
    const { rootDigest } = await cache.push(reference, { objects: [little] });
    const seen = JSON.parse(await skopeo("inspect", "--tls-verify=false", `docker://${reference}`)) as object;
    expect(seen).toMatchObject({
      Digest: rootDigest,
      Architecture: "amd64",
      Os: "linux",
      Labels: {
        "io.ebpf.programs": '{"xdp_counter":"xdp"}',
        "io.ebpf.maps": '{"packet_counts":"per_cpu_array"}',
      },
    });
    const raw = await skopeo("inspect", "--raw", "--tls-verify=false", `docker://${reference}`);
    const { layers } = JSON.parse(raw) as { layers: { mediaType: string }[] };
    expect(layers.map(({ mediaType }) => mediaType)).toEqual(["application/vnd.oci.image.layer.v1.tar+gzip"]);
  });

  it("of the same objects again is the same image", async () => {
    const first = await cache.push(registry.reference("pushed/again:v1"), { objects: three });
    const second = await cache.push(registry.reference("pushed/again:v2"), { objects: three });
    expect(second.rootDigest).toBe(first.rootDigest);
  });

  it("of what is cached copies it to another repository, signature and all", async () => {
    const from = registry.reference("pushed/signed:v1");
    const to = registry.reference("copied/signed:v1");
    const { rootDigest } = await cache.push(from, { objects: [little] });
    const type = "application/vnd.example.signature";
    await execute("oras", [
      "attach",
      "--plain-http",
      "--artifact-type",
      type,
      from,
      "--annotation",
      "by=test",
    ]);
    await cache.pull(from, { referrers: true });
    expect(await cache.push(from, { to })).toEqual({ reference: to, rootDigest });
    const { stdout } = await execute("oras", ["discover", "--plain-http", "--format", "json", to]);
    expect(stdout).toContain(type);
  });

  it("copies what is attached to one platform of an index, and what only a tag of cosign's ties to it", async () => {
    const from = registry.reference("pushed/tagged:v1");
    const to = registry.reference("copied/tagged:v1");
    const { rootDigest } = await cache.push(from, { objects: three });
    const fetched = await execute("oras", ["manifest", "fetch", "--plain-http", from]);
    const [child] = (JSON.parse(fetched.stdout) as { manifests: { digest: string }[] }).manifests;
    const atDigest = (reference: string): string => reference.replace(/:v1$/, `@${child?.digest}`);
    const type = "application/vnd.example.attached-to-one";
    await execute("oras", [
      "attach",
      "--plain-http",
      "--artifact-type",
      type,
      atDigest(from),
      "-a",
      "by=test",
    ]);
    const tag = `${rootDigest.replace(":", "-")}.sig`;
    const tagged = from.replace(/v1$/, tag);
    const legacy = "application/vnd.dev.cosign.simplesigning.v1+json";
    await execute("oras", ["push", "--plain-http", "--artifact-type", legacy, tagged, "-a", "by=test"]);
    await using other = await openCache({ platform: "linux/amd64" });
    await other.prefetch([from], { allPlatforms: true, referrers: true });
    await other.push(from, { to });
    const ofOne = await execute("oras", ["discover", "--plain-http", "--format", "json", atDigest(to)]);
    expect(ofOne.stdout).toContain(type);
    const [sent, arrived] = await Promise.all(
      [tagged, to.replace(/v1$/, tag)].map((name) =>
        skopeo("inspect", "--raw", "--tls-verify=false", `docker://${name}`),
      ),
    );
    expect(arrived).toBe(sent);
  });

  it("of an image of which only a part is cached says what lacks", async () => {
    const reference = registry.reference("pushed/three:v1");
    await using other = await openCache({ platform: "linux/amd64" });
    await other.pull(reference);
    const failure = await failureOf(other.push(reference, { to: registry.reference("copied/part:v1") }));
    expect(failure.code).toBe("NOT_CACHED");
    expect(failure.message).toMatch(/linux\/arm64, linux\/s390x/);
  });

  it("on the command line takes files with and without a platform", async () => {
    using user = new User();
    const path = (name: string): string => new URL(name, objects).pathname;
    const reference = registry.reference("pushed/cli:v1");
    const files = [`linux/arm64=${path("xdp_pass.bpfel.o")}`, `linux/s390x=${path("xdp_pass.bpfeb.o")}`];
    const { status, stdout, stderr } = await user.bpfcache(["push", "--json", reference, ...files]);
    expect(status, stderr).toBe(0);
    const { rootDigest } = JSON.parse(stdout) as { rootDigest: string };
    const raw = await skopeo(
      "inspect",
      "--raw",
      "--tls-verify=false",
      `docker://${reference}@${rootDigest}`.replace(":v1", ""),
    );
    expect(raw).toContain('"architecture":"s390x"');
  });

  it.each([
    ["of what is not cached", ["push", "127.0.0.1:1/none:v1"], 4, "NOT_CACHED"],
    [
      "to a digest",
      ["push", `127.0.0.1:1/x@sha256:${"a".repeat(64)}`, new URL("xdp_pass.bpfel.o", objects).pathname],
      2,
      "USAGE",
    ],
    [
      "of a text file",
      ["push", "127.0.0.1:1/x:v1", new URL("../build.sh", objects).pathname],
      9,
      "INVALID_IMAGE",
    ],
    ["with --offline", ["push", "--offline", "127.0.0.1:1/x:v1"], 2, "USAGE"],
  ])("%s fails with the right code", async (_, args, expected, code) => {
    using user = new User();
    const { status, stderr } = await user.bpfcache(args);
    expect(stderr).toContain(`[${code}]`);
    expect(status).toBe(expected);
  });
});
