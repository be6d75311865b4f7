import { type ChildProcess, spawn } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { closeSync, openSync, readFileSync, writeSync } from "node:fs";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/index.js";
import { bytecodeImage, minimalBpfElf, tarOf } from "../support/image-builder.js";
import { checkClosure } from "./check-closure.js";
import { MemoryLimit } from "./memory-limit.js";
import { mainProgram, randomFrom, TemporaryDirectory } from "./processes.js";

/** The whole of it: an archive of a gigabyte, and a hundred kills. It takes some minutes. */
const isSoak = Boolean(process.env["BPFCACHE_SOAK"]);
const imageCount = isSoak ? 1000 : 100;
const kills = isSoak ? 100 : 10;
const seed = Number(process.env["BPFCACHE_TEST_SEED"] ?? Date.now() % 2 ** 32);
const MiB = 1024 * 1024;
const maxMemory = 250_000_000;
/** About as long as a commit of the images that are under way at a time takes. */
const longestDelayMs = 60;

const nameOf = (number: number): string => `quay.io/org/program-${number}:v1`;

/** Writes an archive of a layout as it is made: the test must not hold what the program under test may not. */
function writeArchive(path: string, bytesEach: number): void {
  const file = openSync(path, "w");
  const manifests: object[] = [];
  const add = (name: string, bytes: Uint8Array): void =>
    void writeSync(file, tarOf([{ path: name, bytes }], { endMarker: false }));
  for (let number = 0; number < imageCount; number++) {
    const sections = [{ name: ".rodata", bytes: randomBytes(bytesEach), symbols: ["padding"] }];
    const bytes = minimalBpfElf({ programs: [{ name: `program_${number}` }], sections });
    const image = bytecodeImage({ objects: [{ path: "program.o", bytes }], labels: {} });
    for (const [digest, { bytes: document }] of image.manifests)
      add(`blobs/${digest.replace(":", "/")}`, document);
    for (const [digest, blob] of image.blobs) add(`blobs/${digest.replace(":", "/")}`, blob);
    const { mediaType, digest, size } = image.root;
    const annotations = { "org.opencontainers.image.ref.name": nameOf(number) };
    manifests.push({ mediaType, digest, size, annotations });
  }
  add("oci-layout", Buffer.from('{"imageLayoutVersion":"1.0.0"}'));
  add("index.json", Buffer.from(JSON.stringify({ schemaVersion: 2, manifests })));
  writeSync(file, tarOf([]));
  closeSync(file);
}

function startSeeding(archive: string, cache: string, limit?: MemoryLimit): ChildProcess {
  const args = ["seed", archive, "--cache-dir", cache, "--progress", "json", "--platform", "linux/amd64"];
  const command = [process.execPath, mainProgram, ...args];
  const [program = "", ...words] = limit?.around(command) ?? command;
  return spawn(program, words, { stdio: ["ignore", "ignore", "pipe"] });
}

interface PeakMemory {
  readonly status: number;
  /** Pages of the database that it maps included, which the kernel takes back whenever it needs them. */
  readonly mappedBytes: number;
  /** What was the process's own. */
  readonly ownBytes: number;
}

async function peakMemory(child: ChildProcess): Promise<PeakMemory> {
  let [mappedBytes, ownBytes] = [0, 0];
  child.stderr?.resume();
  const timer = setInterval(() => {
    try {
      const status = readFileSync(`/proc/${child.pid}/status`, "utf8");
      const bytes = (field: string): number =>
        1024 * Number(new RegExp(`^${field}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
      mappedBytes = Math.max(mappedBytes, bytes("VmHWM"));
      ownBytes = Math.max(ownBytes, bytes("RssAnon"));
    } catch {
      // It has just ended.
    }
  }, 20);
  const [status] = await once(child, "close");
  clearInterval(timer);
  return { status, mappedBytes, ownBytes };
}

/** Kills it some time after it has said of this many images that they are readable: in the midst of whatever it does. */
async function killAfter(child: ChildProcess, published: number, delayMs: number): Promise<void> {
  let left = published;
  if (child.stderr === null) throw new Error("stderr is not piped");
  createInterface({ input: child.stderr }).on("line", (line) => {
    if (line.includes('"event":"published"')) left--;
    if (left === 0) setTimeout(() => child.kill("SIGKILL"), delayMs);
  });
  const [status, signal] = (await once(child, "close")) as [number | null, NodeJS.Signals | null];
  if (signal !== "SIGKILL" && status !== 0) throw new Error(`seeding ended with ${signal ?? status}`);
}

async function rootsIn(directory: string): Promise<string[]> {
  await using cache = await openCache({ directory, platform: "linux/amd64" });
  return cache.list().map(({ reference }) => {
    const { bytes, digest } = cache.bytecode(reference);
    const found = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    return found === digest ? reference : `${reference} is damaged`;
  });
}

describe.skipIf(process.platform !== "linux")("seeding a large archive", () => {
  let directory: TemporaryDirectory;
  beforeAll(() => {
    directory = new TemporaryDirectory();
    writeArchive(directory.join("large.tar"), MiB - 4096);
  }, 600_000);
  afterAll(() => directory?.[Symbol.dispose]());

  it("takes less than 250 MB, however large it is", { timeout: 900_000 }, async () => {
    using limit = MemoryLimit.make(maxMemory);
    const started = performance.now();
    const { status, mappedBytes, ownBytes } = await peakMemory(
      startSeeding(directory.join("large.tar"), directory.join("cache"), limit),
    );
    const seconds = Math.round((performance.now() - started) / 1000);
    const [own, mapped] = [ownBytes, mappedBytes].map((bytes) => Math.round(bytes / 1e6));
    const where =
      limit === undefined ? "without a limit" : "in a control group of 250 MB, page cache and all";
    console.log(
      `${imageCount} images of 1 MiB ${where}: ${own} MB its own, ${mapped} MB with mapped pages, ${seconds} s`,
    );
    expect(status).toBe(0);
    expect(ownBytes).toBeGreaterThan(10_000_000);
    expect(ownBytes).toBeLessThan(maxMemory);
  });
});

describe("seeding that is killed by SIGKILL", () => {
  let directory: TemporaryDirectory;
  beforeAll(() => {
    directory = new TemporaryDirectory();
    writeArchive(directory.join("small.tar"), 1024);
  }, 600_000);
  afterAll(() => directory?.[Symbol.dispose]());

  it("leaves whole images and nothing else, and goes on in the next run", {
    timeout: isSoak ? 3_600_000 : 300_000,
  }, async () => {
    const random = randomFrom(seed);
    const archive = directory.join("small.tar");
    let [cache, before] = [directory.join("killed-0"), 0];
    const counts: number[] = [];
    for (let kill = 0; kill < kills; kill++) {
      if (before === imageCount) [cache, before] = [directory.join(`killed-${kill}`), 0];
      const published = 1 + Math.floor((random() * imageCount) / 3);
      await killAfter(startSeeding(archive, cache), published, random() * longestDelayMs);
      const found = await rootsIn(cache);
      expect(
        found.filter((name) => name.endsWith("damaged")),
        `seed ${seed}`,
      ).toEqual([]);
      expect(found.length, `seed ${seed}`).toBeGreaterThanOrEqual(before);
      expect(checkClosure(cache), `seed ${seed}`).toEqual([]);
      before = found.length;
      counts.push(before);
    }
    expect(counts.filter((count) => count < imageCount)).not.toEqual([]);
    console.log(`seed ${seed}: images after each of ${kills} kills: ${counts.join(" ")}`);
    const { status } = await peakMemory(startSeeding(archive, cache));
    expect(status).toBe(0);
    expect(await rootsIn(cache)).toHaveLength(imageCount);
  });
});
