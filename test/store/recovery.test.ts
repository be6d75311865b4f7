import { cpSync, mkdirSync, readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { CacheEvent } from "../../src/core/events.js";
import { thisProcess } from "../../src/core/process-identity.js";
import { openCache } from "../../src/open-cache.js";
import { openReader } from "../../src/reader.js";
import { Environment } from "../../src/store/environment.js";
import { Store } from "../../src/store/store.js";
import { fixture, run, TemporaryDirectory } from "../reliability/processes.js";
import { bytecodeImage } from "../support/image-builder.js";
import { startTestRegistry } from "../support/test-registry.js";
import { faultsOf, killAtEveryStep, lostIn, platform, readAll, referenceOf, seedImages } from "./support.js";

const count = 30;
const references = Array.from({ length: count }, (_, index) => referenceOf(index)).sort();
const pinned = referenceOf(3);

const made = new TemporaryDirectory();
let parent: TemporaryDirectory;
let directory: string;
let file: string;

beforeAll(async () => {
  await seedImages(made.join("cache"), made.join("layout"), count);
  await using cache = await openCache({ directory: made.join("cache"), platform });
  cache.pin(pinned, { owner: "node-agent", reason: "boots with it" });
});

afterAll(() => made[Symbol.dispose]());

beforeEach(() => {
  parent = new TemporaryDirectory();
  directory = parent.join("cache");
  file = join(directory, "data.mdb");
  copyTo(directory);
});

afterEach(() => parent[Symbol.dispose]());

function copyTo(path: string): void {
  cpSync(made.join("cache"), path, { recursive: true, filter: (each) => !each.endsWith("lock.mdb") });
}

/** Overwrites pages in the middle: what the header says stays true. */
function damagePages(path: string, from = 0.5): void {
  const bytes = readFileSync(path);
  const start = Math.floor((bytes.length / 4096) * from) * 4096;
  writeFileSync(path, bytes.fill(0xa5, Math.max(start, 2 * 4096)));
}

function damagePagesWith(path: string, content: Buffer): void {
  const bytes = readFileSync(path);
  for (let page = 2 * 4096; page < bytes.length; page += 4096)
    if (bytes.subarray(page, page + 4096).includes(content)) bytes.fill(0xa5, page, page + 4096);
  writeFileSync(path, bytes);
}

/** As a writer leaves it that a power cut ended. */
function leaveMark(path: string, bootId: string = thisProcess().bootId): string {
  const name = ["4194303", "1", bootId, encodeURIComponent(thisProcess().pidNamespace), "00000000"].join("~");
  mkdirSync(join(path, "open"), { recursive: true });
  writeFileSync(join(path, "open", name), "");
  return name;
}

describe("an unclean end", () => {
  it("is one that leaves a mark: a killed process does, one that closes does not", async () => {
    const store = Store.open({ directory });
    expect(readdirSync(join(directory, "open"))).toHaveLength(1);
    store.close();
    expect(readdirSync(join(directory, "open"))).toEqual([]);
    // Two steps make the mark, in its directory; the process dies before the third.
    const ended = await run(process.execPath, [fixture("kill-at-step.js"), directory, "3"]);
    expect(ended.signal).toBe("SIGKILL");
    expect(readdirSync(join(directory, "open"))).toHaveLength(1);
    expect(faultsOf(directory, references)).toEqual([]);
    expect(readdirSync(join(directory, "open"))).toEqual([]);
  });

  it("has the next writer look through everything, and find what is damaged", () => {
    damagePages(file);
    leaveMark(directory);
    const store = Store.open({ directory });
    expect(store.recovery?.fault).toContain("is damaged");
    expect(store.list()).toEqual([]);
    store.close();
  });

  it("of this boot does not concern a reader, of another one does", () => {
    leaveMark(directory);
    expect(readAll(directory)).toEqual(references);
    expect(readdirSync(join(directory, "open"))).toHaveLength(1);

    leaveMark(directory, "another-boot");
    expect(readAll(directory)).toEqual(references);
    expect(readdirSync(join(directory, "open"))).toHaveLength(1);

    leaveMark(directory, "another-boot");
    damagePages(file);
    const before = readFileSync(file);
    expect(() => openReader({ directory })).toThrow(expect.objectContaining({ code: "CACHE_CORRUPT" }));
    expect(readFileSync(file).equals(before)).toBe(true);
  });

  it("of a process of this boot's in another pid namespace may be none: it is left alone", () => {
    const { bootId } = thisProcess();
    mkdirSync(join(directory, "open"), { recursive: true });
    writeFileSync(join(directory, "open", `1~1~${bootId}~pid%3A%5B1%5D~00000000`), "");
    Store.open({ directory }).close();
    expect(readdirSync(join(directory, "open"))).toHaveLength(1);
  });

  it("is what damage met in use counts as", () => {
    const environment = Environment.open({ directory });
    const corrupted = Object.assign(new Error("MDB_CORRUPTED"), { code: -30_796 });
    expect(() =>
      environment.snapshot(() => {
        throw corrupted;
      }),
    ).toThrow(expect.objectContaining({ code: "CACHE_CORRUPT" }));
    environment.close();
    expect(readdirSync(join(directory, "open"))).toEqual(["suspect"]);
    expect(faultsOf(directory, references)).toEqual([]); // It was not damage.
    expect(readdirSync(join(directory, "open"))).toEqual([]);
  });
});

describe("a damaged cache opened for writing", () => {
  it("remembers the references and pins that can still be read", () => {
    // Cut where pages of objects are missing and those of the references are there.
    truncateSync(file, statSync(file).size - 4096 * 3);
    const store = Store.open({ directory });
    const { recovery } = store;
    store.close();
    const lost = lostIn(directory);
    expect(recovery?.references).toBe(lost.length);
    expect(lost.length).toBeGreaterThan(0);
    for (const { reference, platform: of, rootDigest } of lost) {
      expect(references).toContain(reference);
      expect(of).toBe(platform);
      expect(rootDigest).toMatch(/^sha256:/);
    }
  });

  it("tells who opened it by an event", async () => {
    truncateSync(file, 4 * 4096);
    const events: object[] = [];
    const cache = await openCache({ directory, onEvent: (event) => events.push(event) });
    await cache.close();
    expect(events).toEqual([
      expect.objectContaining({ v: 1, event: "recovered", movedTo: expect.stringContaining("damaged-") }),
    ]);
  });

  it("has what it remembers brought back by the next prefetch, with its pins", async () => {
    await using registry = await startTestRegistry();
    const names = ["a", "b", "c", "d"].map((name) => registry.reference(`lost/${name}:v1`));
    for (const name of ["a", "b", "c", "d"])
      registry.add(`lost/${name}:v1`, bytecodeImage({ labels: { name } }));
    const path = parent.join("refilled");
    const cache = await openCache({ directory: path, platform });
    expect((await cache.prefetch(names)).failed).toEqual([]);
    for (const name of names) cache.pin(name, { owner: "node-agent", reason: "boots with it" });
    await cache.close();

    // The pages of byProgram, of which no reference is on any.
    damagePagesWith(join(path, "data.mdb"), Buffer.from("pass\0\x01"));
    leaveMark(path);
    const events: CacheEvent[] = [];
    const again = await openCache({ directory: path, platform, onEvent: (event) => events.push(event) });
    expect(again.list()).toEqual([]);
    expect(events).toContainEqual(expect.objectContaining({ event: "recovered", references: names.length }));
    const { images } = await again.prefetch([]);
    expect(images.map(({ reference, pinned }) => ({ reference, pinned }))).toEqual(
      names.map((reference) => ({ reference, pinned: true })),
    );
    await again.close();
    expect(faultsOf(path, names)).toEqual([]);
  });

  it("keeps the last two damaged ones", () => {
    for (let i = 0; i < 4; i++) {
      truncateSync(file, 2 * 4096 + 100);
      Store.open({ directory }).close();
    }
    expect(readdirSync(directory).filter((name) => name.startsWith("damaged-"))).toHaveLength(2);
  });

  it("is begun anew once by many that find it damaged at the same time", async () => {
    truncateSync(file, 4 * 4096);
    const all = await Promise.all(
      Array.from({ length: 4 }, () => run(process.execPath, [fixture("kill-at-step.js"), directory, "0"])),
    );
    expect(all.map(({ status, stderr }) => ({ status, stderr }))).toEqual(
      all.map(() => ({ status: 0, stderr: "" })),
    );
    expect(readdirSync(directory).filter((name) => name.startsWith("damaged-"))).toHaveLength(1);
    expect(faultsOf(directory, [])).toEqual([]);
  });

  it("is let go of by a process that has it open, whose writes go to the new one", () => {
    const before = Environment.open({ directory });
    truncateSync(file, statSync(file).size - 4096 * 3);
    const after = Environment.open({ directory });
    expect(after.recovery).toBeDefined();
    before.commit(() => before.tree("hosts").put(Buffer.of(1), Buffer.of(1)));
    expect(after.snapshot(() => after.tree("hosts").has(Buffer.of(1)))).toBe(true);
    expect(before.snapshot(() => before.tree("refs").keys())).toEqual([]);
    before.close();
    after.close();
  });

  it("is the damaged or the new one when the process is killed at any step", {
    timeout: 240_000,
  }, async () => {
    const complaints: string[] = [];
    let most = 0;
    const steps = await killAtEveryStep(
      parent,
      "open",
      (path) => {
        copyTo(path);
        truncateSync(join(path, "data.mdb"), statSync(join(path, "data.mdb")).size - 4096 * 3);
      },
      (path, step) => {
        Store.open({ directory: path }).close();
        const lost = lostIn(path).length;
        most = Math.max(most, lost);
        if (lost !== most || lost === 0)
          complaints.push(`before step ${step}: ${lost} references are remembered`);
        complaints.push(...faultsOf(path, []).map((fault) => `before step ${step}: ${fault}`));
        const left = readdirSync(path).filter(
          (name) => !/^(data\.mdb|lock\.mdb|open|damaged-.*)$/.test(name),
        );
        complaints.push(...left.map((name) => `before step ${step}: ${name} was left`));
      },
    );
    expect(steps).toBeGreaterThan(5);
    expect(complaints).toEqual([]);
  });
});
