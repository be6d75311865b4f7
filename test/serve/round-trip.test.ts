import { createHash } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { BytecodeCache } from "../../src/cache.js";
import { openCache } from "../../src/open-cache.js";
import type { RegistryServer } from "../../src/serve/server.js";
import { User } from "../cli/command.js";
import { run, TemporaryDirectory } from "../reliability/processes.js";
import { bytecodeImage, imageIndex, minimalBpfElf, writeLayout } from "../support/image-builder.js";
import { requireTools } from "../support/tools.js";

const platform = "linux/amd64";
const objects = [{ path: "program.o", bytes: minimalBpfElf({ programs: [{ name: "travels" }] }) }];
const single = bytecodeImage({ objects });
const index = imageIndex([{ image: single }, { image: bytecodeImage({ platform: "linux/arm64" }) }]);
const docker = bytecodeImage({ objects, docker: true });
const references = ["single", "index", "docker"].map((name) => `registry.example/org/${name}:v1`);

let directory: TemporaryDirectory;
let first: BytecodeCache;
let server: RegistryServer;

beforeAll(async () => {
  directory = new TemporaryDirectory();
  writeLayout(
    directory.join("layout"),
    [single, index, docker].map((root, i) => ({ name: references[i] ?? "", root })),
  );
  first = await openCache({ directory: directory.join("first"), platform });
  await first.seed([directory.join("layout")]);
  server = await first.serve();
});

afterAll(async () => {
  await server.close();
  await first.close();
  directory[Symbol.dispose]();
});

describe("an image pulled from one cache into another", () => {
  it.each(references)("has the same digests: %s", async (reference) => {
    await using second = await openCache({ directory: directory.join("second"), platform });
    const there = first.inspect(reference);

    await second.pull(`${server.address}/${reference}`);

    const here = second.inspect(`${server.address}/${reference}`);
    const digests = ({
      rootDigest,
      manifestDigest,
      configDigest,
      layers,
      objects,
    }: typeof here): unknown => ({
      rootDigest,
      manifestDigest,
      configDigest,
      layers,
      objects,
    });
    expect(digests(here)).toEqual(digests(there));
  });

  it("has the same bytecode", async () => {
    await using second = await openCache({ platform });
    for (const reference of references) {
      await second.pull(`${server.address}/${reference}`);
      const { bytes } = second.bytecode(`${server.address}/${reference}`);
      expect(Buffer.from(bytes).equals(first.bytecode(reference).bytes)).toBe(true);
    }
  });

  it("is not fetched again when nothing has changed, though it is asked after", async () => {
    await using second = await openCache({ platform, pullPolicy: "Always" });
    const name = `${server.address}/${references[0]}`;
    await second.pull(name);
    expect(await second.pull(name)).toMatchObject({ from: "cache", requests: 1, bytesFetched: 0 });
  });

  it("that the first cache does not have is NOT_FOUND", async () => {
    await using second = await openCache({ platform });
    await expect(second.pull(`${server.address}/registry.example/org/none:v1`)).rejects.toMatchObject({
      code: "NOT_FOUND",
    });
  });

  it("is there at once when it was added while the server was running", async () => {
    writeLayout(directory.join("later"), [{ name: "registry.example/org/later:v1", root: single }]);
    await first.seed([directory.join("later")]);
    await using second = await openCache({ platform });
    const { rootDigest } = await second.pull(`${server.address}/registry.example/org/later:v1`);
    expect(rootDigest).toBe(single.root.digest);
  });
});

describe("bpfcache serve", () => {
  it("says where it listens, serves, and ends well on SIGINT", async () => {
    using user = new User();
    await user.bpfcache(["seed", directory.join("layout")]);
    const serving = user.start(["serve", "--listen", "127.0.0.1:0"]);
    const [, url = ""] = await serving.line("stdout", /^Serving .* on (http:\/\/127\.0\.0\.1:[1-9]\d*)$/);
    const response = await fetch(`${url}/v2/${references[0]?.replace(":", "/manifests/")}`);
    expect(response.headers.get("docker-content-digest")).toBe(single.root.digest);
    serving.kill("SIGINT");
    expect((await serving.ended).status).toBe(0);
  });

  it("says it as one JSON document when asked to", async () => {
    using user = new User();
    const serving = user.start(["serve", "--listen", "127.0.0.1:0", "--json"]);
    await serving.line("stdout", /^\}$/);
    serving.kill("SIGTERM");
    const { status, stdout } = await serving.ended;
    expect(JSON.parse(stdout)).toEqual({
      url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:[1-9]\d*$/),
      directory: user.cache,
    });
    expect(status).toBe(0);
  });
});

const noSkopeo = requireTools("skopeo");

describe.skipIf(noSkopeo)(`skopeo${noSkopeo ?? ""}`, () => {
  it.each(references)("sees the same manifest: %s", async (reference) => {
    const { status, stdout, stderr } = await run("skopeo", [
      "inspect",
      "--raw",
      "--tls-verify=false",
      `docker://${server.address}/${reference}`,
    ]);
    expect(status, stderr).toBe(0);
    expect(`sha256:${createHash("sha256").update(stdout).digest("hex")}`).toBe(
      first.inspect(reference).rootDigest,
    );
  });

  it("copies an image out, which a third cache takes in with the same digests", async () => {
    const out = directory.join("copied");
    const { status, stderr } = await run("skopeo", [
      "--insecure-policy",
      "copy",
      "--src-tls-verify=false",
      "--preserve-digests",
      `docker://${server.address}/${references[0]}`,
      `oci:${out}:${references[0]}`,
    ]);
    expect(status, stderr).toBe(0);
    await using third = await openCache({ platform });
    const { images } = await third.seed([out]);
    expect(images).toMatchObject([{ reference: references[0], rootDigest: single.root.digest }]);
  });
});
