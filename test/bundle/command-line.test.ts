import { execFileSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { json, lastLine, sampleImage, User } from "../cli/command.js";
import { bytecodeImage, minimalBpfElf, type TestRoot, writeLayout } from "../support/image-builder.js";
import { filesIn } from "./support.js";

const reference = "registry.example/org/sample:v1";
let user: User;

beforeEach(async () => {
  user = new User();
  await fill({ [reference]: sampleImage() });
});

afterEach(() => user[Symbol.dispose]());

async function fill(images: Readonly<Record<string, TestRoot>>): Promise<void> {
  const layout = user.path(`layout-${Object.keys(images).length}`);
  writeLayout(
    layout,
    Object.entries(images).map(([name, root]) => ({ name, root })),
  );
  const { status, stderr } = await user.bpfcache(["seed", layout, "--platform", "all"]);
  expect({ status, stderr }).toMatchObject({ status: 0 });
}

/** Images with content that does not compress, of about a megabyte together. */
function largeImages(count: number): Record<string, TestRoot> {
  const image = (i: number): TestRoot => {
    const sections = [{ name: ".rodata", bytes: randomBytes(100_000) }];
    return bytecodeImage({ objects: [{ path: `p${i}.o`, bytes: minimalBpfElf({ sections }) }] });
  };
  return Object.fromEntries(
    Array.from({ length: count }, (_, i) => [`registry.example/org/large${i}:v1`, image(i)]),
  );
}

describe("bpfcache export", () => {
  it("says what it wrote", async () => {
    const output = user.path("out.tar");
    const { status, stdout, stderr } = await user.bpfcache(["export", reference, "-o", output]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^1 image in .*out\.tar \(oci-archive\), [\d.]+ KiB\n$/);
    expect(stderr).toBe(`exported ${reference}\n`);
  });

  it("prints one JSON document with the keys of the contract", async () => {
    const output = user.path("out");
    const { status, stdout } = await user.bpfcache(["export", "--all", "-o", output, "--json"]);
    const result = json(stdout);
    expect(status).toBe(0);
    expect(Object.keys(result)).toEqual(["output", "format", "images", "failed", "lock", "bytes"]);
    expect(Object.keys(result.images[0])).toEqual([
      "reference",
      "rootDigest",
      "platforms",
      "bytes",
      "missing",
    ]);
    expect(result.lock).toEqual({ [reference]: result.images[0].rootDigest });
    const sizes = Object.keys(filesIn(output)).map((path) => readFileSync(join(output, path)).length);
    expect(result.bytes).toBe(sizes.reduce((sum, size) => sum + size, 0));
  });

  it("takes several platforms, and says in words what of an image is not there", async () => {
    const one = ["--platform", "linux/arm64"];
    const several = ["--platform", "linux/amd64,linux/arm64"];
    const partly = await user.bpfcache(["export", reference, "-o", user.path("one"), ...one]);
    const whole = await user.bpfcache(["export", reference, "-o", user.path("two"), ...several, "--json"]);
    expect(partly.stdout).toContain(`${reference} has linux/arm64; not cached: linux/amd64`);
    expect(json(whole.stdout).images[0].platforms).toEqual(["linux/amd64", "linux/arm64"]);
  });

  it("writes to standard output nothing but the archive", async () => {
    const ended = await user.shell(
      `bpfcache export ${reference} -o "$HOME/file.tar" --progress quiet >/dev/null
       bpfcache export ${reference} -o - | cmp - "$HOME/file.tar" && bpfcache export ${reference} -o - | tar -tf -`,
    );
    expect(ended.status).toBe(0);
    expect(ended.stdout).toContain("index.json");
  });

  it.each([
    ["no place to write to", ["export", reference], /-o PATH/],
    ["nothing to write", ["export", "-o", "out"], /either references or all/],
    ["references and all", ["export", reference, "--all", "-o", "out"], /either references or all/],
    ["a format that is none", ["export", "--all", "-o", "out", "--format", "zip"], /oci-dir, oci-archive/],
    ["JSON and the archive in one stream", ["export", "--all", "-o", "-", "--json"], /standard output/],
    ["a directory in a stream", ["export", "--all", "-o", "-", "--format", "oci-dir"], /stream/],
  ])("refuses %s with USAGE", async (_, args, message) => {
    const { status, stderr } = await user.bpfcache(args);
    expect(status).toBe(2);
    expect(stderr).toMatch(message);
  });

  it("ends with 4 when the image is not cached, and with 20 when others are", async () => {
    const absent = "registry.example/org/absent:v1";
    const alone = await user.bpfcache(["export", absent, "-o", user.path("a"), "--json"]);
    expect(alone.status).toBe(4);
    expect(lastLine(alone.stderr).error).toMatchObject({ code: "NOT_CACHED" });
    const partly = await user.bpfcache(["export", absent, reference, "-o", user.path("b"), "--json"]);
    expect(partly.status).toBe(20);
    expect(json(partly.stdout).failed).toMatchObject([{ reference: absent, code: "NOT_CACHED" }]);
    expect(existsSync(user.path("b"))).toBe(true);
  });

  it("fails when its reader goes away, or the disk behind standard output is full", async () => {
    await fill(largeImages(5));
    const cut = await user.shell("set -o pipefail; bpfcache export --all -o - | head -c 1000 | wc -c");
    expect(cut.status).not.toBe(0);
    const full = await user.shell("bpfcache export --all -o - > /dev/full");
    expect(full.status).toBe(2);
    expect(full.stderr).toContain("the archive was not taken to its end");
    expect(full.stderr).not.toContain("    at ");
  }, 120_000);

  it.each(["killed", "killed.tar"])(
    "has all of it at the place or nothing, whenever it is killed: %s",
    async (name) => {
      await fill(largeImages(12));
      const whole = user.path(`whole-${name}`);
      await user.bpfcache(["export", "--all", "-o", whole]);
      for (const after of [/exporting/, /blobs/, /index\.json/]) {
        const output = user.path(name);
        const running = user.start(["export", "--all", "-o", output, "--overwrite", "--progress", "json"]);
        await running.line("stderr", after);
        running.kill("SIGKILL");
        await running.ended;
        if (!existsSync(output)) continue;
        if (name.endsWith(".tar")) expect(readFileSync(output)).toEqual(readFileSync(whole));
        else expect(filesIn(output)).toEqual(filesIn(whole));
      }
    },
  );
});

const mountPoint = mkdtempSync(join(tmpdir(), "bpfcache-full-"));
const isMounted = process.getuid?.() === 0 && mountTmpfs(mountPoint);

function mountTmpfs(path: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", path], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

describe.skipIf(!isMounted)("a full disk at the place (skipped: needs root, to mount a small tmpfs)", () => {
  beforeAll(() => expect(readdirSync(mountPoint)).toEqual([]));

  afterAll(() => {
    if (isMounted) execFileSync("umount", ["-l", mountPoint]);
    rmdirSync(mountPoint);
  });

  it.each(["layout", "archive.tar"])(
    "is CACHE_FULL, names the place and leaves nothing there: %s",
    async (name) => {
      await fill(largeImages(30));
      const output = join(mountPoint, name);
      const { status, stderr } = await user.bpfcache(["export", "--all", "-o", output]);
      expect(status).toBe(12);
      expect(stderr).toContain(output);
      expect(readdirSync(mountPoint)).toEqual([]);
      expect((await user.bpfcache(["cat", reference, "--platform", "linux/amd64"])).status).toBe(0);
    },
  );
});
