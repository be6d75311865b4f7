import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Ended } from "../reliability/processes.js";
import { bytecodeImage, imageIndex, minimalBpfElf, writeLayout } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { json, lastLine, sampleImage, User } from "./command.js";

const amd64 = ["--platform", "linux/amd64"];

let registry: TestRegistry;
let user: User;

beforeAll(async () => {
  registry = await startTestRegistry();
  registry.add("org/sample:v1", sampleImage());
  user = new User();
});

afterAll(async () => {
  user[Symbol.dispose]();
  await registry.close();
});

beforeEach(() => registry.repair());

/** Fails as the code's row in DESIGN.md §6 says: its status, its name on stderr, and nothing on stdout. */
async function expectFailure(ended: Promise<Ended>, status: number, code: string): Promise<void> {
  const { status: found, stdout, stderr } = await ended;
  expect(stderr).toContain(`[${code}]`);
  expect(stderr).not.toMatch(/^\s+at /m);
  expect(stdout).toBe("");
  expect(found).toBe(status);
}

describe("exit status 2, USAGE, is for", () => {
  it.each([
    ["no verb", []],
    ["an unknown verb", ["fetch", "x"]],
    ["an unknown option", ["list", "--fast"]],
    ["an unknown option before the verb", ["--fast", "list"]],
    ["an option without its value", ["list", "--cache-dir"]],
    ["a value for an option that takes none", ["list", "--json=yes"]],
    ["a reference with a scheme", ["pull", "https://registry.example/x"]],
    ["a reference in upper case", ["pull", "registry.example/Org/x"]],
    ["a malformed digest", ["pull", "registry.example/x@sha256:abc"]],
    ["pull without a reference", ["pull"]],
    ["pull with two", ["pull", "a", "b"]],
    ["prefetch without a reference", ["prefetch"]],
    ["prefetch -f with a file that is not there", ["prefetch", "-f", "/nonexistent/images.txt"]],
    ["inspect without a reference", ["inspect"]],
    ["cat without a reference", ["cat"]],
    ["remove without a reference", ["remove"]],
    ["pin without a reference", ["pin"]],
    ["unpin without a reference", ["unpin"]],
    ["seed without a path", ["seed"]],
    ["list with a word", ["list", "x"]],
    ["a platform that is none", ["list", "--platform", "linux"]],
    ["a pull policy that is none", ["list", "--pull-policy", "sometimes"]],
    ["an age that is none", ["list", "--max-age", "soon"]],
    ["no jobs at all", ["list", "--jobs", "0"]],
    ["a style of progress that is none", ["list", "--progress", "loud"]],
    ["an address that is none", ["serve", "--listen", "nowhere"]],
  ])("%s", async (_, args) => {
    await expectFailure(user.bpfcache(args), 2, "USAGE");
  });

  it("a port that is taken", async () => {
    await expectFailure(user.bpfcache(["serve", "--listen", registry.host]), 2, "USAGE");
  });

  it("a layout whose bare tags have no repository, which it names", async () => {
    const layout = user.path("bare");
    writeLayout(layout, [{ name: "v7", root: sampleImage() }]);
    const { status, stderr } = await user.bpfcache(["seed", layout]);
    expect(stderr).toContain("v7");
    expect(stderr).toContain("--as");
    expect(status).toBe(2);
  });

  it("bytecode and a JSON document on one stdout", async () => {
    await user.bpfcache(["pull", registry.reference("org/sample:v1"), ...amd64]);
    const { status, stdout, stderr } = await user.bpfcache([
      "cat",
      registry.reference("org/sample:v1"),
      "--json",
      ...amd64,
    ]);
    expect(lastLine(stderr)).toMatchObject({ error: { code: "USAGE" } });
    expect({ status, stdout }).toEqual({ status: 2, stdout: "" });
  });

  it("a choice between objects that was not made, which it names", async () => {
    const objects = ["first", "second"].map((name) => ({
      path: `${name}.o`,
      bytes: minimalBpfElf({ programs: [{ name }] }),
    }));
    registry.add("org/two:v1", bytecodeImage({ objects }));
    const reference = registry.reference("org/two:v1");
    await user.bpfcache(["pull", reference, ...amd64]);
    const { status, stderr } = await user.bpfcache(["cat", reference, ...amd64]);
    expect(stderr).toContain("first.o (first); second.o (second)");
    expect(status).toBe(2);
  });
});

describe("exit status", () => {
  it("3, NOT_FOUND, is for a tag that the registry does not have", async () => {
    await expectFailure(user.bpfcache(["pull", registry.reference("org/sample:v9")]), 3, "NOT_FOUND");
  });

  it("3, NOT_FOUND, is for a repository that the registry does not have", async () => {
    await expectFailure(user.bpfcache(["pull", registry.reference("org/none:v1")]), 3, "NOT_FOUND");
  });

  it("3, NOT_FOUND, is for a layout that is not there", async () => {
    await expectFailure(user.bpfcache(["seed", user.path("none")]), 3, "NOT_FOUND");
  });

  it.each([["--offline"], ["--pull-policy", "never"]])(
    "4, NOT_CACHED, is for what is absent under %s %s, and no connection is made",
    async (...option) => {
      registry.forget();
      const args = [
        "pull",
        registry.reference("org/absent:v1"),
        ...option.filter((word) => word !== undefined),
      ];
      await expectFailure(user.bpfcache(args), 4, "NOT_CACHED");
      expect(registry.connections).toBe(0);
    },
  );

  it.each(["inspect", "cat", "remove", "pin", "unpin"])(
    "4, NOT_CACHED, is for %s of what is absent",
    async (verb) => {
      await expectFailure(user.bpfcache([verb, "registry.example/org/absent:v1"]), 4, "NOT_CACHED");
    },
  );

  it("4, NOT_CACHED, is for list where there is no cache", async () => {
    await expectFailure(user.bpfcache(["list", "--cache-dir", user.path("none")]), 4, "NOT_CACHED");
  });

  it("5, UNAUTHORIZED, is for credentials that are missing", async () => {
    await using closed = await startTestRegistry({
      auth: { type: "basic", username: "somebody", password: "secret" },
    });
    closed.add("org/sample:v1", sampleImage());
    await expectFailure(user.bpfcache(["pull", closed.reference("org/sample:v1")]), 5, "UNAUTHORIZED");
  });

  it("5, UNAUTHORIZED, is for credentials that are refused, which it does not repeat", async () => {
    await using closed = await startTestRegistry({
      auth: { type: "basic", username: "somebody", password: "secret" },
    });
    const auth = Buffer.from("somebody:not-the-password").toString("base64");
    writeFileSync(user.path("auth.json"), JSON.stringify({ auths: { [closed.host]: { auth } } }));
    const ended = user.bpfcache([
      "pull",
      closed.reference("org/sample:v1"),
      "--authfile",
      user.path("auth.json"),
    ]);
    await expectFailure(ended, 5, "UNAUTHORIZED");
    expect((await ended).stderr).not.toMatch(/not-the-password|bm90LXRoZS1wYXNz/);
  });

  it("6, UNREACHABLE, is for a port where nobody listens", async () => {
    const registry = await startTestRegistry();
    const reference = registry.reference("org/sample:v1");
    await registry.close();
    await expectFailure(user.bpfcache(["pull", reference, "--progress", "quiet"]), 6, "UNREACHABLE");
  });

  it("7, DIGEST_MISMATCH, is for a layer with other bytes", async () => {
    using other = new User();
    const image = bytecodeImage();
    registry.add("org/wrong:v1", image);
    const [layer] = image.layers;
    registry.break({ path: layer?.digest ?? "" }, { body: Buffer.alloc(layer?.size ?? 0, "x") });
    const ended = other.bpfcache(["pull", registry.reference("org/wrong:v1"), ...amd64]);
    await expectFailure(ended, 7, "DIGEST_MISMATCH");
    expect((await other.bpfcache(["list"])).stdout).toBe("nothing is cached\n");
  });

  it("9, INVALID_IMAGE, is for an image without an eBPF object", async () => {
    registry.add(
      "org/text:v1",
      bytecodeImage({ objects: [{ path: "readme", bytes: Buffer.from("hello") }] }),
    );
    await expectFailure(
      user.bpfcache(["pull", registry.reference("org/text:v1"), ...amd64]),
      9,
      "INVALID_IMAGE",
    );
  });

  it("10, PLATFORM_MISMATCH, is for an index without this platform", async () => {
    registry.add("org/arm:v1", imageIndex([{ image: bytecodeImage({ platform: "linux/arm64" }) }]));
    const ended = user.bpfcache(["pull", registry.reference("org/arm:v1"), ...amd64]);
    await expectFailure(ended, 10, "PLATFORM_MISMATCH");
  });

  it("10, PLATFORM_MISMATCH, is for an object of the other byte order", async () => {
    const bytes = minimalBpfElf({ order: "big" });
    registry.add("org/big:v1", bytecodeImage({ objects: [{ path: "big.o", bytes }] }));
    const ended = user.bpfcache(["pull", registry.reference("org/big:v1"), ...amd64]);
    await expectFailure(ended, 10, "PLATFORM_MISMATCH");
  });

  it("11, CACHE_CORRUPT, is for bytecode that has changed on the disk, none of which is written, when it may not be repaired", async () => {
    using other = new User();
    const bytes = minimalBpfElf({ programs: [{ name: "soon_damaged" }] });
    registry.add("org/damaged:v1", bytecodeImage({ objects: [{ path: "damaged.o", bytes }] }));
    const reference = registry.reference("org/damaged:v1");
    await other.bpfcache(["pull", reference, ...amd64]);
    const data = readFileSync(`${other.cache}/data.mdb`);
    const at = data.indexOf(bytes) + 100;
    data.writeUInt8(data.readUInt8(at) ^ 1, at);
    writeFileSync(`${other.cache}/data.mdb`, data);
    await expectFailure(other.bpfcache(["cat", "--offline", reference, ...amd64]), 11, "CACHE_CORRUPT");
  });

  it("20, PARTIAL, is for a prefetch of which some failed, and the rest is cached", async () => {
    using other = new User();
    const good = registry.reference("org/sample:v1");
    const absent = registry.reference("org/sample:v9");
    const { status, stdout, stderr } = await other.bpfcache(["prefetch", absent, good, ...amd64]);
    expect(stderr).toContain(`failed ${absent}: `);
    expect(stderr).toContain("[PARTIAL]");
    expect(stdout).toMatch(/^1 cached, 1 failed, /);
    expect(status).toBe(20);
    expect((await other.bpfcache(["list"])).stdout).toContain(good);
  });

  it("20, PARTIAL, comes with the whole document under --json", async () => {
    using other = new User();
    const good = registry.reference("org/sample:v1");
    const absent = registry.reference("org/sample:v9");
    const { status, stdout, stderr } = await other.bpfcache([
      "prefetch",
      absent,
      good,
      "Not A Reference",
      "--json",
      ...amd64,
    ]);
    expect(json(stdout)).toMatchObject({
      images: [{ reference: good }],
      failed: [
        { reference: absent, code: "NOT_FOUND", message: expect.any(String) },
        { reference: "Not A Reference", code: "USAGE", message: expect.any(String) },
      ],
    });
    expect(Object.keys(json(stdout).lock)).toEqual([good]);
    expect(lastLine(stderr)).toMatchObject({ error: { code: "PARTIAL" } });
    expect(status).toBe(20);
  });
});

describe("an error under --json", () => {
  it.each([
    ["of the command line", ["frobnicate"], "USAGE", 2],
    ["of an option", ["list", "--frobnicate"], "USAGE", 2],
    ["of a reference", ["pull", "UPPER/CASE"], "USAGE", 2],
    ["of the cache", ["inspect", "registry.example/org/absent:v1"], "NOT_CACHED", 4],
  ])("%s is one document on stderr, and nothing is on stdout", async (_, args, code, status) => {
    const ended = await user.bpfcache([...args, "--json"]);
    expect(json(ended.stderr)).toEqual({
      error: expect.objectContaining({ code, message: expect.any(String) }),
    });
    expect(ended).toMatchObject({ status, stdout: "" });
  });

  it("of a registry names the reference and what to do next, where there is something", async () => {
    const reference = registry.reference("org/absent:v1");
    const { stderr } = await user.bpfcache(["pull", reference, "--offline", "--json"]);
    const hint = expect.stringMatching(/./);
    expect(json(stderr)).toEqual({
      error: { code: "NOT_CACHED", message: expect.any(String), reference, hint },
    });
  });
});
