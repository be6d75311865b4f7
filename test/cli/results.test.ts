import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import { bpfmanLabels, bytecodeImage, minimalBpfElf, writeLayout } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { json, sampleImage, User } from "./command.js";

const digest = expect.stringMatching(/^sha256:[0-9a-f]{64}$/);
const time = expect.stringMatching(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);

// The documents of DESIGN.md §6. More keys may be added; these stay.
const image = {
  reference: expect.any(String),
  rootDigest: digest,
  manifestDigest: digest,
  platform: "linux/amd64",
  format: "bpfman",
  objects: [
    {
      name: "count_packets.o",
      digest,
      size: expect.any(Number),
      programs: [{ name: "count_packets", type: "xdp", section: "xdp" }],
      maps: [{ name: "packets", type: "percpu_array" }],
    },
  ],
  labels: { "io.ebpf.programs": expect.any(String), "io.ebpf.maps": expect.any(String) },
  size: expect.any(Number),
  pinned: false,
  pulledAt: time,
  lastUsedAt: time,
};
const pulled = { ...image, from: "registry", requests: 4, bytesFetched: expect.any(Number), trust: null };

describe("the result of", () => {
  const amd64 = ["--platform", "linux/amd64"];
  const object = minimalBpfElf({ programs: [{ name: "first" }] });
  const second = minimalBpfElf({ programs: [{ name: "second" }] });
  let registry: TestRegistry;
  let user: User;
  let reference: string;
  let twoObjects: string;

  beforeAll(async () => {
    registry = await startTestRegistry();
    registry.add("org/sample:v1", sampleImage());
    const objects = [
      { path: "first.o", bytes: object },
      { path: "second.o", bytes: second },
    ];
    const labels = bpfmanLabels({ first: "xdp", second: "xdp" });
    registry.add("org/two:v1", bytecodeImage({ objects, labels }));
    reference = registry.reference("org/sample:v1");
    twoObjects = registry.reference("org/two:v1");
    user = new User();
    const { status, stderr } = await user.bpfcache(["prefetch", reference, twoObjects, ...amd64]);
    expect(stderr).not.toContain("failed");
    expect(status).toBe(0);
  });

  afterAll(async () => {
    user[Symbol.dispose]();
    await registry.close();
  });

  async function succeed(args: readonly string[], as: User = user): Promise<string> {
    const { status, stdout, stderr } = await as.bpfcache([...args, ...amd64]);
    expect(stderr.replace(/^cached .*\n/gm, "")).toBe("");
    expect(status).toBe(0);
    return stdout;
  }

  it("pull is the image and what it took", async () => {
    using other = new User();
    const text = await succeed(["pull", reference], other);
    expect(text).toMatch(new RegExp(`^${reference} {2}linux/amd64\n`));
    expect(text).toContain("count_packets (xdp)");
    expect(text).toContain("4 requests");
  });

  it("pull --json has the documented keys", async () => {
    using other = new User();
    expect(json(await succeed(["pull", reference, "--json"], other))).toMatchObject({ ...pulled, reference });
  });

  it("pull of what is cached is the image, with no request", async () => {
    const document = json(await succeed(["pull", reference, "--json"]));
    expect(document).toMatchObject({ ...image, from: "cache", requests: 0, bytesFetched: 0, trust: null });
  });

  it("prefetch counts what was cached", async () => {
    using other = new User();
    const text = await succeed(["prefetch", reference, twoObjects], other);
    expect(text).toMatch(/^2 cached, 7 requests, [\d.]+ KiB in [\d.]+ s\n$/);
  });

  it("prefetch --json has the documented keys", async () => {
    using other = new User();
    const document = json(await succeed(["prefetch", reference, "--json"], other));
    expect(document).toMatchObject({
      images: [pulled],
      failed: [],
      lock: { [reference]: document.images[0].rootDigest },
    });
  });

  it("list is a row per image, under headings", async () => {
    const lines = (await succeed(["list"])).trimEnd().split("\n");
    expect(lines[0]).toMatch(/^REFERENCE +PLATFORM +ROOT +SIZE +PULLED +PROGRAMS$/);
    expect(lines.slice(1).map((line) => line.split(/ {2,}/)[0])).toEqual([reference, twoObjects]);
  });

  it("list --json has the documented keys", async () => {
    const document = json(await succeed(["list", "--json"]));
    expect(document.images).toHaveLength(2);
    expect(document.images[0]).toMatchObject({ ...image, reference });
  });

  it("list has the alias ls", async () => {
    expect(json(await succeed(["ls", "--json"]))).toEqual(json(await succeed(["list", "--json"])));
  });

  it("inspect names all four digests", async () => {
    const document = json(await succeed(["inspect", reference, "--json"]));
    const text = await succeed(["inspect", reference]);
    expect(text).toContain(`root digest      ${document.rootDigest}`);
    expect(text).toContain(`manifest digest  ${document.manifestDigest}`);
    expect(text).toContain(`layer digest     ${document.layers[0].digest}`);
    expect(text).toContain(`object digest    ${document.objects[0].digest}`);
  });

  it("inspect shows programs, maps, globals and sections", async () => {
    const text = await succeed(["inspect", reference]);
    expect(text).toMatch(/^ +[├└]─ program +count_packets +xdp +xdp$/m);
    expect(text).toMatch(/^ +[├└]─ map +packets +percpu_array/m);
    expect(text).toMatch(/^ +[├└]─ global +limit +4 B +\.rodata$/m);
    expect(text).toMatch(/^ +[├└]─ section +\.maps +32 B +PROGBITS$/m);
  });

  it("inspect --json has the documented keys", async () => {
    const [object] = image.objects;
    expect(json(await succeed(["inspect", reference, "--json"]))).toMatchObject({
      ...image,
      rootMediaType: "application/vnd.oci.image.index.v1+json",
      platforms: ["linux/amd64", "linux/arm64"],
      layers: [{ digest, mediaType: expect.any(String), size: expect.any(Number), isCached: true }],
      objects: [
        {
          ...object,
          license: "GPL",
          sections: expect.arrayContaining([expect.objectContaining({ name: "xdp" })]),
          globals: [expect.objectContaining({ name: "limit" })],
        },
      ],
    });
  });

  it("inspect --json lists the referrers", async () => {
    expect(json(await succeed(["inspect", reference, "--json"]))).toHaveProperty("referrers");
  });

  it("cat is the bytecode and nothing else", async () => {
    const file = user.path("piped.o");
    const { status } = await user.shell(`bpfcache cat ${twoObjects} --object first.o > ${file}`);
    expect(status).toBe(0);
    expect(readFileSync(file).equals(object)).toBe(true);
  });

  it("cat through a pipe is whole, however large", async () => {
    const filling = { name: ".rodata", bytes: Buffer.alloc(3_000_000, "bulk ") };
    const bytes = minimalBpfElf({ sections: [filling] });
    registry.add("org/bulky:v1", bytecodeImage({ objects: [{ path: "bulky.o", bytes }] }));
    using other = new User();
    await succeed(["pull", registry.reference("org/bulky:v1")], other);
    const { stdout } = await other.shell(`bpfcache cat ${registry.reference("org/bulky:v1")} | sha256sum`);
    expect(`sha256:${stdout.slice(0, 64)}`).toBe(digestOf(bytes));
  });

  it("cat -o is a file, and nothing on stdout", async () => {
    const file = user.path("written.o");
    expect(await succeed(["cat", twoObjects, "--program", "second", "-o", file])).toBe("");
    expect(readFileSync(file).equals(second)).toBe(true);
  });

  it("cat -o --json says what was written", async () => {
    const args = ["cat", twoObjects, "--object", "second.o", "-o", user.path("described.o"), "--json"];
    expect(json(await succeed(args))).toMatchObject({ reference: twoObjects, digest: digestOf(second) });
  });

  it("remove says what it freed", async () => {
    using other = new User();
    await succeed(["pull", reference], other);
    expect(await succeed(["remove", reference], other)).toMatch(
      new RegExp(`^removed ${reference}, .+ freed\n$`),
    );
    expect(await succeed(["list"], other)).toBe("nothing is cached\n");
  });

  it("remove --json has the keys of prune, by its alias rm", async () => {
    using other = new User();
    await succeed(["pull", reference], other);
    const document = json(await succeed(["rm", reference, "--json"], other));
    expect(document).toEqual({
      removed: [{ reference, bytes: expect.any(Number), reason: expect.any(String) }],
      bytesFreed: document.removed[0].bytes,
    });
    expect(document.bytesFreed).toBeGreaterThan(0);
  });

  it("pin and unpin shows in inspect", async () => {
    using other = new User();
    await succeed(["pull", reference], other);
    expect(await succeed(["pin", reference, "--owner", "a-test", "--reason", "to see it"], other)).toBe(
      `pinned ${reference}\n`,
    );
    expect(json(await succeed(["inspect", reference, "--json"], other)).pinned).toBe(true);
    expect(await succeed(["unpin", reference], other)).toBe(`unpinned ${reference}\n`);
    expect(json(await succeed(["inspect", reference, "--json"], other)).pinned).toBe(false);
  });

  it("compact says what it gave back", async () => {
    const { status, stdout } = await user.bpfcache(["compact"]);
    expect(status).toBe(0);
    expect(stdout).toMatch(/^[\d.]+ \w+ before, [\d.]+ \w+ now: [\d.]+ \w+ given back\n$/);
  });

  it("compact --json has the documented keys", async () => {
    const { stdout } = await user.bpfcache(["compact", "--json"]);
    const { fileBytesBefore, fileBytesAfter, bytesFreed } = json(stdout);
    expect(fileBytesAfter).toBeGreaterThan(0);
    expect(bytesFreed).toBe(fileBytesBefore - fileBytesAfter);
  });

  it("seed takes in an OCI layout, with the documented keys", async () => {
    using other = new User();
    const layout = other.path("layout");
    writeLayout(layout, [{ name: "registry.example/org/sample:v1", root: sampleImage() }]);
    const document = json(await succeed(["seed", layout, "--json"], other));
    expect(document).toMatchObject({
      images: [{ ...pulled, reference: "registry.example/org/sample:v1", from: "layout", requests: 0 }],
      failed: [],
      lock: { "registry.example/org/sample:v1": document.images[0].rootDigest },
    });
  });

  it("seed --as gives bare tags a repository", async () => {
    using other = new User();
    const layout = other.path("layout");
    writeLayout(layout, [{ name: "v7", root: sampleImage() }]);
    await succeed(["seed", layout, "--as", "registry.example/org/bare"], other);
    const { images } = json(await succeed(["list", "--json"], other));
    expect(images).toMatchObject([{ reference: "registry.example/org/bare:v7" }]);
  });

  it("prefetch -f takes references from a file, leaving out comments and empty lines", async () => {
    using other = new User();
    const list = other.path("images.txt");
    writeFileSync(list, `# two images\n${reference}\n\n  ${twoObjects}  # the second\n`);
    const document = json(await succeed(["prefetch", "-f", list, "--json"], other));
    expect(Object.keys(document.lock)).toEqual([reference, twoObjects]);
  });

  it("prefetch -f takes several files, and words besides", async () => {
    using other = new User();
    writeFileSync(other.path("one.txt"), reference);
    writeFileSync(other.path("two.txt"), `${twoObjects}\r\n`);
    const args = ["prefetch", "-f", other.path("one.txt"), "-f", other.path("two.txt"), reference, "--json"];
    const document = json(await succeed(args, other));
    expect(Object.keys(document.lock)).toEqual([reference, twoObjects]);
  });

  it("prefetch -f - takes references from standard input", async () => {
    using other = new User();
    const input = `${reference}\n${twoObjects}\n`;
    const { status, stdout } = await other.bpfcache(["prefetch", "-f", "-", "--json", ...amd64], { input });
    expect(status).toBe(0);
    expect(json(stdout).images).toHaveLength(2);
  });

  it("--cache-dir counts more than BPFCACHE_DIR", async () => {
    const { status } = await user.bpfcache(["list", "--cache-dir", user.path("elsewhere")]);
    expect(status).toBe(4);
  });

  it("options may stand before the verb", async () => {
    expect(await succeed(["--json", "--cache-dir", user.cache, "list"])).toBe(
      await succeed(["list", "--json"]),
    );
  });
});
