import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { BytecodeCache } from "../../src/cache.js";
import type { CacheEvent } from "../../src/core/events.js";
import { openCache } from "../../src/open-cache.js";
import { totalKey } from "../../src/store/content-bytes.js";
import { Environment } from "../../src/store/environment.js";
import type { TreeName } from "../../src/store/trees.js";
import { checkClosure } from "../reliability/check-closure.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { bytecodeImage, imageIndex, minimalBpfElf } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";

const platform = "linux/amd64";

let directory: TemporaryDirectory;
let registry: TestRegistry;
let cache: BytecodeCache;
let environment: Environment;
let one: string;
let two: string;

beforeEach(async () => {
  directory = new TemporaryDirectory();
  registry = await startTestRegistry();
  const objects = (name: string): { path: string; bytes: Buffer }[] => [
    { path: `${name}.o`, bytes: minimalBpfElf({ programs: [{ name }], maps: [{ name: `${name}_map` }] }) },
  ];
  const image = bytecodeImage({ objects: objects("first") });
  const other = bytecodeImage({ objects: objects("other"), platform: "linux/arm64" });
  registry.add("org/one:v1", imageIndex([{ image }, { image: other }]));
  registry.add("org/two:v1", bytecodeImage({ objects: objects("second") }));
  one = registry.reference("org/one:v1");
  two = registry.reference("org/two:v1");
  cache = await openCache({ directory: directory.join("cache"), platform, limits: { retries: 0 } });
  await cache.prefetch([one, two]);
  cache.pin(one, { owner: "agent", reason: "needed" });
  environment = Environment.open({ directory: cache.directory });
  registry.requests.length = 0;
});

afterEach(async () => {
  environment.close();
  await cache.close();
  await registry[Symbol.asyncDispose]();
  directory[Symbol.dispose]();
});

const content = ["manifests", "configs", "layers", "objects"] as const;
const records = ["refs", "roots", "images", "objectInfo"] as const;
const indexes = ["byProgram", "byMap", "heldBy"] as const;

describe("a scrub", () => {
  it("finds nothing wrong with a cache as it is published, and notes when that was", async () => {
    const events: CacheEvent[] = [];
    const report = await cache.scrub({ onEvent: (event) => events.push(event) });
    expect(report).toMatchObject({ damaged: [], repaired: [] });
    expect(report.checked).toBeGreaterThan(30);
    const steps = [
      "pages",
      "manifests",
      "configs",
      "layers",
      "objects",
      "records",
      "references",
      "indexes",
      "totals",
    ];
    expect(Object.keys(report.steps)).toEqual(steps);
    const shown = events.flatMap((event) => (event.event === "scrubbing" ? [event.step] : []));
    expect(new Set(shown)).toEqual(new Set(steps.slice(1, -1)));
    expect(environment.tree("meta").has(Buffer.from("lastScrub"))).toBe(true);
    expect(registry.requests).toEqual([]);
  });

  it.each([...content, ...records])("finds every changed value in %s, and changes nothing", async (name) => {
    for (const row of rowsOf(name)) {
      change(name, row);
      const before = allRows();
      const { damaged, repaired } = await cache.scrub();
      expect(damaged.map(({ tree }) => tree)).toContain(name);
      expect(damaged[0]?.references.length ?? 0).toBeGreaterThanOrEqual(name === "roots" ? 0 : 1);
      expect(repaired).toEqual([]);
      expect(allRows()).toEqual(before);
      put(name, row);
    }
    expect((await cache.scrub()).damaged).toEqual([]);
  });

  it.each([...content, ...records, ...indexes])("misses any row that is taken from %s", async (name) => {
    for (const row of rowsOf(name)) {
      environment.commit(() => environment.tree(name).remove(row.key));
      expect((await cache.scrub()).damaged, row.key.toString("hex")).not.toEqual([]);
      put(name, row);
    }
  });

  it.each([...content, ...records.slice(1), ...indexes, "usage" as const])(
    "with repair removes a row in %s that nothing needs",
    async (name) => {
      const [row] = rowsOf(name);
      if (row === undefined) throw new Error(`${name} is empty`);
      const key = Buffer.from(row.key);
      key.writeUInt8(key.readUInt8(8) ^ 1, 8);
      put(name, { key, value: row.value });
      expect((await cache.scrub()).damaged).not.toEqual([]);
      expect(await cache.scrub({ repair: true })).toMatchObject({ damaged: [] });
      expect(checkClosure(cache.directory)).toEqual([]);
      expect(environment.tree(name).has(key)).toBe(false);
      expect(registry.requests).toEqual([]);
    },
  );

  it("ends with INTERRUPTED when its signal is aborted", async () => {
    const abort = new AbortController();
    const work = cache.scrub({ signal: abort.signal, onEvent: () => abort.abort() });
    await expect(work).rejects.toMatchObject({ code: "INTERRUPTED" });
  });

  it("gives no false alarm while images come and go", async () => {
    let isOver = false;
    const churn = (async () => {
      while (!isOver) {
        cache.remove(two);
        await cache.pull(two);
      }
    })();
    for (let i = 0; i < 5; i++) expect((await cache.scrub()).damaged).toEqual([]);
    isOver = true;
    await churn;
    expect(checkClosure(cache.directory)).toEqual([]);
  });
});

describe("a scrub with repair", () => {
  it.each([...content, ...records, ...indexes])(
    "mends whatever was changed in or taken from %s",
    async (name) => {
      for (const row of rowsOf(name)) {
        for (const harm of [change, take]) {
          if (harm === change && indexes.some((index) => index === name)) continue;
          harm(name, row);
          const report = await cache.scrub({ repair: true });
          expect(report.damaged, row.key.toString("hex")).toEqual([]);
          // A reference whose own row has gone without a trace is a reference nobody has.
          expect(report.repaired).not.toEqual([]);
          expect(checkClosure(cache.directory)).toEqual([]);
          if (harm === take && name === "refs") await cache.prefetch([one, two]);
          expect(cache.list().map(({ reference }) => reference)).toEqual([one, two]);
        }
      }
    },
  );

  // The kind of content, the algorithm and the digest of the content, and those of who needs it.
  it.each([0, 1, 8, 34, 35, 50])(
    "knows what is needed by whom though byte %i of such a row is another",
    async (at) => {
      for (const row of rowsOf("heldBy")) {
        const key = Buffer.from(row.key);
        key.writeUInt8(key.readUInt8(at) ^ 4, at);
        environment.commit(() => {
          environment.tree("heldBy").remove(row.key);
          environment.tree("heldBy").put(key, row.value);
        });
        expect((await cache.scrub({ repair: true })).damaged, row.key.toString("hex")).toEqual([]);
        expect(checkClosure(cache.directory)).toEqual([]);
      }
      expect(registry.requests).toEqual([]);
    },
  );

  it("takes no layer that was dropped for one that is missing, though another image has it again", async () => {
    const shared = { objects: [{ path: "same.o", bytes: minimalBpfElf({ programs: [{ name: "same" }] }) }] };
    registry.add("org/three:v1", bytecodeImage(shared));
    registry.add("org/four:v1", bytecodeImage({ ...shared, annotations: { "org.example": "another" } }));
    const references = ["three", "four"].map((name) => registry.reference(`org/${name}:v1`));
    await cache.prefetch(references);
    await cache.prune({ dropLayers: true });
    cache.remove(references[1] ?? "");
    await cache.pull(references[1] ?? "");
    expect(rowsOf("layers")).toHaveLength(2); // With that of the pinned image.
    expect(await cache.scrub({ repair: true })).toMatchObject({ damaged: [], repaired: [] });
  });

  it("extracts an object again from its layer, without a request", async () => {
    for (const row of rowsOf("objects")) change("objects", row);
    const { repaired } = await cache.scrub({ repair: true });
    expect(repaired.map(({ tree }) => tree)).toEqual(["objects", "objects"]);
    expect(registry.requests).toEqual([]);
    expect(cache.bytecode(one).programs[0]?.name).toBe("first");
  });

  it("fetches blobs by their digests, though the tag has moved", async () => {
    const { rootDigest } = cache.inspect(one);
    registry.add("org/one:v1", bytecodeImage());
    for (const row of rowsOf("layers")) change("layers", row);
    for (const row of rowsOf("manifests")) change("manifests", row);
    expect((await cache.scrub({ repair: true })).damaged).toEqual([]);
    expect(registry.requests.map(({ path }) => path).filter((path) => path.endsWith("/v1"))).toEqual([]);
    expect(cache.inspect(one)).toMatchObject({ rootDigest, pinned: true });
    expect(checkClosure(cache.directory)).toEqual([]);
  });

  it("removes what cannot be brought back, and any prefetch brings it back with its pin", async () => {
    const { rootDigest } = cache.inspect(one);
    for (const row of rowsOf("layers")) change("layers", row);
    const stop = registry.break({ kind: "blob" }, { status: 404 });
    const { damaged } = await cache.scrub({ repair: true });
    expect(damaged.map(({ references }) => references[0]).sort()).toEqual([
      `${one} ${platform}`,
      `${two} ${platform}`,
    ]);
    expect(damaged[0]?.reason).toContain("removed, to be prefetched again");
    expect(cache.list()).toEqual([]);
    expect(checkClosure(cache.directory)).toEqual([]);
    expect((await cache.scrub()).damaged).toEqual([]);
    stop();
    const { images } = await cache.prefetch([]);
    expect(images.map(({ reference }) => reference)).toEqual([one, two]);
    expect(cache.inspect(one)).toMatchObject({ rootDigest, pinned: true });
    expect((await cache.prefetch([])).images).toEqual([]);
    expect(checkClosure(cache.directory)).toEqual([]);
  });

  it.each(["a value of another format", "no time that a clock can show"])(
    "counts again what its totals say, and does without a last use that is %s",
    async (what) => {
      const bad = Buffer.alloc(9, what.startsWith("a value") ? 0xff : 1);
      if (!what.startsWith("a value")) bad.fill(0xff, 1);
      const total = environment.tree("meta").get(totalKey);
      put("meta", { key: totalKey, value: bad });
      for (const { key, value } of rowsOf("usage")) if (value.length === 9) put("usage", { key, value: bad });
      expect(cache.list().map(({ reference }) => reference)).toEqual([one, two].sort());
      await cache.pull(two, { pullPolicy: "Always" });
      expect(cache.bytecode(two).programs[0]?.name).toBe("second");
      await cache.scrub({ repair: true });
      expect(environment.tree("meta").get(totalKey)).toEqual(total);
      expect((await cache.scrub()).damaged).toEqual([]);
      expect(checkClosure(cache.directory)).toEqual([]);
    },
  );

  it("sends no request when the cache is offline", async () => {
    await using offline = await openCache({ directory: cache.directory, platform, offline: true });
    for (const name of ["objects", "configs"] as const) change(name, rowsOf(name)[0]);
    const { damaged, repaired } = await offline.scrub({ repair: true });
    expect([...damaged, ...repaired].length).toBe(2);
    expect(damaged.length).toBeGreaterThan(0);
    expect(registry.requests).toEqual([]);
    expect(checkClosure(cache.directory)).toEqual([]);
  });
});

interface Row {
  readonly key: Buffer;
  readonly value: Buffer;
}

function rowsOf(name: TreeName): Row[] {
  return environment.snapshot(() => environment.tree(name).entries());
}

function allRows(): Record<string, string[]> {
  const names = [...content, ...records, ...indexes, "usage", "quarantine"] as const;
  return Object.fromEntries(
    names.map((name) => [
      name,
      rowsOf(name).map(({ key, value }) => `${key.toString("hex")} ${value.toString("hex")}`),
    ]),
  );
}

function put(name: TreeName, { key, value }: Row): void {
  environment.commit(() => environment.tree(name).put(key, value));
}

function take(name: TreeName, { key }: Row): void {
  environment.commit(() => environment.tree(name).remove(key));
}

/** One bit of the last byte. */
function change(name: TreeName, row: Row | undefined): void {
  if (row === undefined) throw new Error(`${name} is empty`);
  const value = Buffer.from(row.value);
  value.writeUInt8(value.readUInt8(value.length - 1) ^ 1, value.length - 1);
  put(name, { key: row.key, value });
}
