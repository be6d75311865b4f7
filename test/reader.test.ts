import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { digestOf } from "../src/core/digest.js";
import { BpfcacheError } from "../src/core/errors.js";
import { openCache } from "../src/open-cache.js";
import { openReader } from "../src/reader.js";
import { makeDataFile, makeLockFile } from "../src/store/new-files.js";
import { Conversation, fixture, mainProgram, run, TemporaryDirectory } from "./reliability/processes.js";
import { bytecodeImage, minimalBpfElf, type TestImage, writeLayout } from "./support/image-builder.js";
import { startTestRegistry } from "./support/test-registry.js";

const platform = "linux/amd64";
const reference = "registry.example/org/program:v1";
const small = minimalBpfElf({ programs: [{ name: "small" }] });
/** Over 1 MiB an object is hashed once in a process, below it at every read. */
const large = minimalBpfElf({
  programs: [{ name: "large" }],
  sections: [{ name: ".rodata", bytes: Buffer.alloc(1_200_000, "large ") }],
});

function imageOf(...objects: readonly Buffer[]): TestImage {
  return bytecodeImage({ objects: objects.map((bytes, index) => ({ path: `${index}.o`, bytes })) });
}

/** A cache with the image under `reference`, closed again. */
async function seedCache(directory: string, image: TestImage): Promise<void> {
  using layout = new TemporaryDirectory();
  writeLayout(layout.path, [{ name: reference, root: image }]);
  const cache = await openCache({ directory, platform });
  const { failed } = await cache.seed([layout.path]);
  await cache.close();
  expect(failed).toEqual([]);
}

function thrownBy(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

function codeOf(action: () => unknown): string | undefined {
  const thrown = thrownBy(action);
  if (thrown instanceof BpfcacheError) return thrown.code;
  return thrown === undefined ? undefined : String(thrown);
}

describe("a reader in a process of its own", () => {
  it("sees an image the moment its publication returns, while a third process writes without pause", async () => {
    using directory = new TemporaryDirectory();
    await using registry = await startTestRegistry();
    const layout = directory.join("layout");
    writeLayout(layout, [{ name: "registry.example/busy/writer:v1", root: bytecodeImage() }]);
    await using cache = await openCache({ directory: directory.join("cache"), platform });
    await using reader = new Conversation("reader.js", [cache.directory]);
    await using writer = new Conversation("busy-writer.js", [cache.directory, layout]);
    await Promise.all([reader.next(), writer.next()]);
    const { commits: before } = await writer.ask<{ commits: number }>({});

    const seen: unknown[] = [];
    const published: unknown[] = [];
    for (let index = 0; index < 30; index++) {
      const object = minimalBpfElf({ programs: [{ name: `program_${index}` }] });
      registry.add(`org/program-${index}:v1`, imageOf(object));
      const { reference, objects } = await cache.pull(registry.reference(`org/program-${index}:v1`));
      seen.push(await reader.ask({ reference }));
      const digest = objects[0]?.digest;
      published.push({ digest, found: digest });
    }

    const { commits: after } = await writer.ask<{ commits: number }>({});
    expect(seen).toEqual(published);
    expect(after).toBeGreaterThan(before);
  });

  it("sees where a tag has moved to the moment the pull returns", async () => {
    using directory = new TemporaryDirectory();
    await using registry = await startTestRegistry();
    const reference = registry.reference("org/moving:v1");
    await using cache = await openCache({ directory: directory.path, platform, pullPolicy: "Always" });
    await using reader = new Conversation("reader.js", [directory.path]);
    await reader.next();

    for (let index = 0; index < 10; index++) {
      registry.add("org/moving:v1", imageOf(minimalBpfElf({ programs: [{ name: `version_${index}` }] })));
      const { objects } = await cache.pull(reference);
      const digest = objects[0]?.digest;
      expect(await reader.ask({ reference })).toEqual({ digest, found: digest });
    }
  });

  it("no longer sees an image the moment its removal returns", async () => {
    using directory = new TemporaryDirectory();
    await seedCache(directory.path, imageOf(small));
    await using reader = new Conversation("reader.js", [directory.path]);
    await reader.next();
    await using cache = await openCache({ directory: directory.path });

    cache.remove(reference);

    expect(await reader.ask({ reference })).toMatchObject({ code: "NOT_CACHED" });
  });
});

describe("what a reader's process loads", () => {
  const sources = /\/undici\/|\/dist\/source\/|\/dist\/packed\/(?:registry|oras)-source-/;
  const network = /node:(?:http|https|http2|tls)$/;
  const schemas = /\/node_modules\/zod\//;

  it("is neither undici nor zod nor anything of source/ with the reader's module", async () => {
    const loaded = await modulesOf(`import ${JSON.stringify(dist("reader.js"))};`);
    expect(loaded.filter((url) => [sources, network, schemas].some((what) => what.test(url)))).toEqual([]);
  });

  it("is neither undici nor anything of source/ when the reader comes from the package", async () => {
    const loaded = await modulesOf(`import { openReader } from "bpfcache"; String(openReader);`);
    expect(loaded.filter((url) => sources.test(url))).toEqual([]);
  });

  it.each(["list", "inspect", "cat"])(
    "is neither undici nor anything of source/ for bpfcache %s",
    async (verb) => {
      using directory = new TemporaryDirectory();
      await seedCache(directory.path, imageOf(small));
      const words = verb === "list" ? [] : [reference];
      const loaded = await modulesOf(undefined, [mainProgram, verb, ...words, "--cache-dir", directory.path]);
      expect(loaded.some((url) => url.includes("/dist/packed/reader-"))).toBe(true);
      expect(loaded.filter((url) => sources.test(url))).toEqual([]);
    },
  );

  it("would be noticed: a pull loads undici and source/", async () => {
    using directory = new TemporaryDirectory();
    const loaded = await modulesOf(`
      import { openCache } from "bpfcache";
      const cache = await openCache({ directory: ${JSON.stringify(directory.path)} });
      await cache.pull("127.0.0.1:1/org/program", { signal: AbortSignal.timeout(1000) }).catch(() => {});
      await cache.close();`);
    for (const part of ["/dist/packed/registry-source-", "/undici/"])
      expect(loaded.some((url) => url.includes(part))).toBe(true);
  });

  function dist(path: string): string {
    return new URL(`../dist/${path}`, import.meta.url).href;
  }

  /** The URLs of all modules that the program, given as text or as arguments of node, has loaded by its end. */
  async function modulesOf(program: string | undefined, args: readonly string[] = []): Promise<string[]> {
    using directory = new TemporaryDirectory();
    const file = directory.join("modules.txt");
    const source = program === undefined ? args : ["--input-type=module", "--eval", program];
    const { status, stderr } = await run(
      process.execPath,
      ["--import", pathToFileURL(fixture("record-modules.js")).href, ...source],
      // The package is found by its own name from inside its directory.
      { cwd: fileURLToPath(new URL("..", import.meta.url)), env: { ...process.env, MODULES_FILE: file } },
    );
    expect(stderr).toBe("");
    expect(status).toBe(0);
    return readFileSync(file, "utf8").split("\n");
  }
});

describe("withBytecode", () => {
  let directory: TemporaryDirectory;

  beforeAll(async () => {
    directory = new TemporaryDirectory();
    await seedCache(directory.path, imageOf(small, large));
  });

  afterAll(() => directory[Symbol.dispose]());

  it.each([
    ["a small object", small, "0.o"],
    ["an object of more than 1 MiB", large, "1.o"],
  ])("gives exactly the bytes of %s", (_, bytes, object) => {
    using reader = openReader({ directory: directory.path });
    const copy = reader.withBytecode(reference, (view) => Buffer.from(view), { platform, object });
    expect(copy.equals(bytes)).toBe(true);
  });

  it("gives a view whose own length is the object's, not that of the buffer it lies in", () => {
    using reader = openReader({ directory: directory.path });
    const byteLength = reader.withBytecode(reference, (view) => view.byteLength, { platform, object: "0.o" });
    expect(byteLength).toBe(small.byteLength);
  });

  it("gives back what the callback returns", () => {
    using reader = openReader({ directory: directory.path });
    const name = reader.withBytecode(reference, (_, { name }) => name, { platform, object: "0.o" });
    expect(name).toBe("0.o");
  });

  it.each([
    ["any", new Error("the loader's own")],
    [
      "a full disk's",
      Object.assign(new Error("ENOSPC: no space left on device"), { code: "ENOSPC", errno: -28 }),
    ],
    ["LMDB's number", Object.assign(new Error("of another database"), { code: -30_796 })],
  ])("lets an error of the callback through (%s), and the reader goes on", (_, failure) => {
    using reader = openReader({ directory: directory.path });
    const fail = (): never => {
      throw failure;
    };
    expect(thrownBy(() => reader.withBytecode(reference, fail, { platform, object: "0.o" }))).toBe(failure);
    expect(reader.list()).toHaveLength(1);
  });

  it.each([
    [
      "bytecode",
      (reader: ReturnType<typeof openReader>) => reader.bytecode(reference, { platform, object: "1.o" }),
    ],
    [
      "withBytecode",
      (reader: ReturnType<typeof openReader>) => reader.withBytecode(reference, () => 0, { platform }),
    ],
    ["list", (reader: ReturnType<typeof openReader>) => reader.list()],
    ["inspect", (reader: ReturnType<typeof openReader>) => reader.inspect(reference, { platform })],
  ])("refuses %s inside its callback with USAGE", (_, use) => {
    using reader = openReader({ directory: directory.path });
    const nested = (): unknown =>
      reader.withBytecode(reference, () => use(reader), { platform, object: "0.o" });
    expect(codeOf(nested)).toBe("USAGE");
  });

  it("never lets a read of another cache in this process change the bytes in the callback's hands", async () => {
    using other = new TemporaryDirectory();
    await seedCache(other.path, imageOf(minimalBpfElf({ programs: [{ name: "another" }] })));
    using reader = openReader({ directory: directory.path });
    using second = openReader({ directory: other.path });
    const isUnchanged = reader.withBytecode(
      reference,
      (view) => {
        // Refusing this read would be as good as giving the two views memory of their own.
        codeOf(() => second.withBytecode(reference, () => 0, { platform }));
        return small.equals(view);
      },
      { platform, object: "0.o" },
    );
    expect(isUnchanged).toBe(true);
  });
});

describe("a closed reader", () => {
  it.each([
    ["bytecode", (reader: ReturnType<typeof openReader>) => reader.bytecode(reference, { platform })],
    [
      "withBytecode",
      (reader: ReturnType<typeof openReader>) => reader.withBytecode(reference, () => 0, { platform }),
    ],
    ["list", (reader: ReturnType<typeof openReader>) => reader.list()],
    ["inspect", (reader: ReturnType<typeof openReader>) => reader.inspect(reference, { platform })],
  ])("refuses %s with USAGE", async (_, use) => {
    using directory = new TemporaryDirectory();
    await seedCache(directory.path, imageOf(small));
    const reader = openReader({ directory: directory.path });
    reader.close();
    expect(codeOf(() => use(reader))).toBe("USAGE");
  });

  it("may be closed again", async () => {
    using directory = new TemporaryDirectory();
    await seedCache(directory.path, imageOf(small));
    const reader = openReader({ directory: directory.path });
    reader.close();
    expect(() => reader.close()).not.toThrow();
  });
});

describe("openReader", () => {
  let directory: TemporaryDirectory;

  beforeEach(() => {
    directory = new TemporaryDirectory();
  });

  afterEach(() => directory[Symbol.dispose]());

  it("says NOT_CACHED where there is no directory", () => {
    expect(codeOf(() => openReader({ directory: directory.join("none") }))).toBe("NOT_CACHED");
  });

  it("does not make the directory it does not find", () => {
    codeOf(() => openReader({ directory: directory.join("none") }));
    expect(existsSync(directory.join("none"))).toBe(false);
  });

  it("says NOT_CACHED in a directory without a cache, and leaves it empty", () => {
    mkdirSync(directory.join("empty"), { mode: 0o700 });
    expect(codeOf(() => openReader({ directory: directory.join("empty") }))).toBe("NOT_CACHED");
    expect(existsSync(directory.join("empty", "lock.mdb"))).toBe(false);
  });

  it("says NOT_CACHED of a cache whose writer died before it wrote anything into it", () => {
    makeLockFile(directory.path);
    makeDataFile(directory.path);
    expect(codeOf(() => openReader({ directory: directory.path }))).toBe("NOT_CACHED");
  });

  it("says NOT_CACHED of a reference that is not there", async () => {
    await seedCache(directory.path, imageOf(small));
    using reader = openReader({ directory: directory.path });
    expect(codeOf(() => reader.bytecode("registry.example/org/other:v1", { platform }))).toBe("NOT_CACHED");
  });

  it("says USAGE of a malformed reference", async () => {
    await seedCache(directory.path, imageOf(small));
    using reader = openReader({ directory: directory.path });
    expect(codeOf(() => reader.bytecode("https://registry.example/x", { platform }))).toBe("USAGE");
  });

  it("works after the writer has closed", async () => {
    await seedCache(directory.path, imageOf(small));
    using reader = openReader({ directory: directory.path });
    expect(Buffer.from(reader.bytecode(reference, { platform }).bytes).equals(small)).toBe(true);
  });

  it("writes nothing", async () => {
    await seedCache(directory.path, imageOf(small));
    const before = readFileSync(directory.join("data.mdb"));
    using reader = openReader({ directory: directory.path });
    reader.bytecode(reference, { platform });
    expect(readFileSync(directory.join("data.mdb")).equals(before)).toBe(true);
  });

  it("refuses a directory that every user may write in", async () => {
    await seedCache(directory.path, imageOf(small));
    chmodSync(directory.path, 0o777);
    expect(codeOf(() => openReader({ directory: directory.path }))).toBe("USAGE");
  });
});

const notRoot = process.getuid?.() === 0 ? "" : " (skipped: becoming another user needs root)";

describe.skipIf(notRoot !== "")(`a reader that is another user${notRoot}`, () => {
  const nobody = "65534";
  let directory: TemporaryDirectory;
  let cache: string;

  beforeEach(async () => {
    directory = new TemporaryDirectory();
    chmodSync(directory.path, 0o755);
    cache = directory.join("cache");
    await seedCache(cache, imageOf(small));
  });

  afterEach(() => directory[Symbol.dispose]());

  it("is refused with USAGE when it may read the data but not write the lock file", async () => {
    chmodSync(cache, 0o755);
    chmodSync(`${cache}/data.mdb`, 0o644);
    chmodSync(`${cache}/lock.mdb`, 0o644);
    expect(await readIn(cache, nobody)).toMatchObject({ code: "USAGE" });
  });

  it("reads when it may write the lock file", async () => {
    chmodSync(cache, 0o755);
    chmodSync(`${cache}/data.mdb`, 0o644);
    chmodSync(`${cache}/lock.mdb`, 0o666);
    const { digest, found } = await readIn(cache, nobody);
    expect(digest).toBeDefined();
    expect(found).toBe(digest);
  });

  it("is told that it may not, rather than that there is no cache, when the directory is closed to it", async () => {
    expect(statSync(cache).mode & 0o777).toBe(0o700);
    expect(await readIn(cache, nobody)).toMatchObject({ code: "USAGE" });
  });

  it("is refused with USAGE when it may not read the data", async () => {
    chmodSync(cache, 0o755);
    chmodSync(`${cache}/lock.mdb`, 0o666);
    expect(await readIn(cache, nobody)).toMatchObject({ code: "USAGE" });
  });
});

describe("a damaged database", () => {
  let healthy: TemporaryDirectory;
  let damaged: TemporaryDirectory;
  let file: string;

  beforeAll(async () => {
    healthy = new TemporaryDirectory();
    await seedCache(healthy.path, imageOf(small, large));
  });

  afterAll(() => healthy[Symbol.dispose]());

  beforeEach(() => {
    damaged = new TemporaryDirectory();
    file = damaged.join("data.mdb");
    copyFileSync(healthy.join("data.mdb"), file);
    copyFileSync(healthy.join("lock.mdb"), damaged.join("lock.mdb"));
  });

  afterEach(() => damaged[Symbol.dispose]());

  it.each([
    ["a small object", small, "0.o"],
    ["an object of more than 1 MiB", large, "1.o"],
  ])("with one changed bit in %s gives CACHE_CORRUPT, and never the bytes", (_, bytes, object) => {
    edit((data) => {
      const at = data.indexOf(bytes) + (bytes.length >> 1);
      data.writeUInt8(data.readUInt8(at) ^ 1, at);
    });
    using reader = openReader({ directory: damaged.path });
    let calls = 0;
    const use = (): unknown => reader.withBytecode(reference, () => calls++, { platform, object });
    expect(codeOf(use)).toBe("CACHE_CORRUPT");
    expect(codeOf(() => reader.bytecode(reference, { platform, object }))).toBe("CACHE_CORRUPT");
    expect(calls).toBe(0);
  });

  it("still gives the other objects when one is damaged", () => {
    edit((data) => data.writeUInt8(data.readUInt8(data.indexOf(large) + 999) ^ 1, data.indexOf(large) + 999));
    using reader = openReader({ directory: damaged.path });
    const { bytes } = reader.bytecode(reference, { platform, object: "0.o" });
    expect(Buffer.from(bytes).equals(small)).toBe(true);
  });

  it("notices a small object that is damaged after it was read well", () => {
    using reader = openReader({ directory: damaged.path });
    reader.bytecode(reference, { platform, object: "0.o" });
    edit((data) => data.writeUInt8(data.readUInt8(data.indexOf(small) + 8) ^ 1, data.indexOf(small) + 8));
    expect(codeOf(() => reader.bytecode(reference, { platform, object: "0.o" }))).toBe("CACHE_CORRUPT");
  });

  it.each([
    ["its first meta page zeroed", (data: Buffer) => data.fill(0, 0, 4096)],
    ["its second meta page zeroed", (data: Buffer) => data.fill(0, 4096, 8192)],
    ["both meta pages zeroed", (data: Buffer) => data.fill(0, 0, 8192)],
    ["another magic number", (data: Buffer) => data.writeUInt32LE(0xdead_beef, 24)],
    ["an unknown format version", (data: Buffer) => data.writeUInt32LE(77, 28)],
    ["an impossible page size", (data: Buffer) => data.writeUInt32LE(4095, 48)],
    ["its header overwritten with text", (data: Buffer) => data.fill("this is no database\n", 0, 8192)],
    ["all of it overwritten", (data: Buffer) => data.fill("this is no database\n")],
  ])("with %s gives CACHE_CORRUPT to a process that lives on", async (_, change) => {
    edit(change);
    expect(await readIn(damaged.path)).toMatchObject({ code: "CACHE_CORRUPT" });
  });

  it.each([1, 100, 4096, 8191, 8192, 12_288, 100_000])(
    "cut to %i bytes gives CACHE_CORRUPT to a process that lives on",
    async (size) => {
      truncateSync(file, size);
      expect(await readIn(damaged.path)).toMatchObject({ code: "CACHE_CORRUPT" });
    },
  );

  // That page may be one that nothing needs any more.
  it("cut by its last page gives CACHE_CORRUPT or the right bytes, and the process lives on", async () => {
    truncateSync(file, statSync(file).size - 4096);
    const { code, found } = await readIn(damaged.path);
    expect(code ?? found).toBe(code === undefined ? digestOf(small) : "CACHE_CORRUPT");
  });

  it("with every page but the meta pages overwritten gives CACHE_CORRUPT to a process that lives on", async () => {
    edit((data) => data.fill("this is no database\n", 8192));
    expect(await readIn(damaged.path)).toMatchObject({ code: "CACHE_CORRUPT" });
  });

  it("that is a directory gives CACHE_CORRUPT to a process that lives on", async () => {
    using directory = new TemporaryDirectory();
    mkdirSync(directory.join("data.mdb"));
    writeFileSync(directory.join("lock.mdb"), "");
    expect(await readIn(directory.path)).toMatchObject({ code: "CACHE_CORRUPT" });
  });

  it("gives right bytes or an error of its own kind, whichever byte of a reference's record is changed", () => {
    const data = readFileSync(file);
    const start = data.indexOf(`{"reference":"${reference}"`);
    const end = data.indexOf("}]}", start);
    expect(start).toBeGreaterThan(0);
    const strange = new Set<string>();
    for (let at = start; at < end; at += 3) {
      edit((bytes) => bytes.writeUInt8(bytes.readUInt8(at) ^ 4, at));
      using reader = openReader({ directory: damaged.path });
      const thrown = thrownBy(() => {
        const { bytes } = reader.bytecode(reference, { platform, object: "0.o" });
        if (!small.equals(bytes)) throw new Error("wrong bytes");
      });
      if (thrown !== undefined && !(thrown instanceof BpfcacheError)) strange.add(String(thrown));
      edit((bytes) => bytes.writeUInt8(bytes.readUInt8(at) ^ 4, at));
    }
    expect([...strange]).toEqual([]);
  });

  it("is moved aside by a writer, which says so and begins anew", async () => {
    edit((data) => data.fill(0, 0, 4096));
    const { status, stderr } = await run(process.execPath, [
      mainProgram,
      "pin",
      reference,
      "--cache-dir",
      damaged.path,
    ]);
    expect(stderr).toMatch(/^warning: .* is damaged: /);
    expect(stderr).toContain("the damaged files are in");
    expect(stderr).toContain("[NOT_CACHED]");
    expect(status).toBe(4);
  });

  /** In place, as a bad disk would: the file stays the same file. */
  function edit(change: (data: Buffer) => unknown): void {
    const data = readFileSync(file);
    change(data);
    writeFileSync(file, data, { flag: "r+" });
  }
});

/** What a reader in a process of its own makes of it; the test fails when that process dies of a signal. */
async function readIn(
  directory: string,
  ...user: readonly (string | undefined)[]
): Promise<{ code?: string; message?: string; digest?: string; found?: string }> {
  const args = [directory, reference, ...user.filter((word) => word !== undefined)];
  const { signal, status, stdout, stderr } = await run(process.execPath, [fixture("try-reader.js"), ...args]);
  // LMDB itself may say something on stderr.
  expect({ signal, status }, stderr).toEqual({ signal: null, status: 0 });
  return JSON.parse(stdout);
}
