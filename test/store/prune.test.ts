import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import { parsePlatform } from "../../src/core/platform.js";
import { thisProcess } from "../../src/core/process-identity.js";
import { parseReference } from "../../src/core/reference.js";
import { putContent } from "../../src/store/content-bytes.js";
import { Environment } from "../../src/store/environment.js";
import { hold } from "../../src/store/holders.js";
import { digestKey } from "../../src/store/keys.js";
import { putLease, referenceLeaseKey } from "../../src/store/lease-rows.js";
import { type PruneOptions, type PruneResult, prune } from "../../src/store/prune.js";
import { manifestDigestOf } from "../../src/store/records.js";
import { Store } from "../../src/store/store.js";
import { Tree } from "../../src/store/trees.js";
import { checkClosure } from "../reliability/check-closure.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { type PublicationOptions, publicationOf, referenceOf } from "./publications.js";

const day = 86_400_000;
const amd64 = parsePlatform("linux/amd64");

describe("prune", () => {
  let directory: TemporaryDirectory;
  let store: Store;

  beforeEach(() => {
    directory = new TemporaryDirectory();
    store = Store.open({ directory: directory.join("cache") });
  });

  afterEach(() => {
    store.close();
    directory[Symbol.dispose]();
  });

  /** An image of 10,000 bytes, and some more for its manifest and config. */
  function put(name: string, options: Partial<PublicationOptions> = {}): void {
    const record = store.publish(
      publicationOf({
        name,
        layers: [{ word: name, bytes: 4_000 }],
        objects: [{ word: `${name} object`, bytes: 6_000 }],
        ...options,
      }),
    );
    store.noteUse(manifestDigestOf(record), record.pulledAt);
  }

  const listed = (): string[] => store.list().map(({ reference }) => reference.slice(referenceOf("").length));

  const goneIn = ({ removed }: PruneResult): string[] =>
    removed.map(({ reference, reason }) => `${reference?.slice(referenceOf("").length)} ${reason}`);

  /** Prunes after a rehearsal, which must say the same and change nothing. */
  async function pruned(options: PruneOptions): Promise<PruneResult> {
    const [rows, before] = [listed(), store.usage()];
    const rehearsed = await store.prune({ ...options, dryRun: true });
    expect([listed(), store.usage().bytes]).toEqual([rows, before.bytes]);
    const result = await store.prune(options);
    expect(result).toEqual(rehearsed);
    expect(store.usage().bytes).toBe(before.bytes - result.bytesFreed);
    expect(result.bytesFreed).toBe(result.removed.reduce((sum, { bytes }) => sum + bytes, 0));
    expect(checkClosure(store.directory, { mayLackLayers: options.dropLayers === true })).toEqual([]);
    return result;
  }

  it("by size lets the least recently used go first, and no more than it must", async () => {
    for (const [index, name] of ["a:1", "b:1", "c:1", "d:1"].entries())
      put(name, { pulledAt: 1_000 * day + index * day });
    store.noteUse(store.list()[0]?.manifestDigest ?? digestOf(Buffer.of()), 2_000 * day);
    expect(goneIn(await pruned({ maxBytes: 25_000 }))).toEqual(["b:1 size", "c:1 size"]);
    expect(listed()).toEqual(["a:1", "d:1"]);
    expect(store.usage().bytes).toBeLessThanOrEqual(25_000);
  });

  it("by age goes by the last use and not by the pull", async () => {
    for (const name of ["old:1", "used:1"]) put(name, { pulledAt: Date.now() - 40 * day });
    put("new:1");
    const used = store.list().find(({ reference }) => reference === referenceOf("used:1"));
    store.noteUse(used?.manifestDigest ?? digestOf(Buffer.of()), Date.now() - 10 * day);
    expect(goneIn(await pruned({ olderThanMs: 30 * day }))).toEqual(["old:1 age"]);
    expect(goneIn(await pruned({ olderThanMs: 5 * day }))).toEqual(["used:1 age"]);
  });

  it("keeps of each repository the references pulled last, on all their platforms", async () => {
    for (const [index, name] of ["a:1", "a:2", "a:3", "b:1"].entries()) put(name, { pulledAt: day + index });
    put("a:3", { platform: "linux/arm64", pulledAt: 1 });
    expect(goneIn(await pruned({ keepLast: 2 }))).toEqual(["a:1 keep-last"]);
    expect(listed()).toEqual(["a:2", "a:3", "a:3", "b:1"]);
    await pruned({ keepLast: 0 });
    expect(listed()).toEqual([]);
  });

  it("says of shared content that it is freed by the last image that had it", async () => {
    const shared = { layers: [{ word: "shared", bytes: 50_000 }], objects: [{ word: "both", bytes: 1_000 }] };
    put("a:1", { ...shared, pulledAt: 1 });
    put("b:1", { ...shared, objects: [...shared.objects, { word: "more", bytes: 500 }], pulledAt: 2 });
    const { removed } = await pruned({ maxBytes: 0 });
    expect(removed.map(({ bytes }) => bytes > 50_000)).toEqual([false, true]);
    expect(store.usage().bytes).toBe(0);
  });

  it("removes all tags of an image together", async () => {
    const same = { layers: [{ word: "same", bytes: 9_000 }], objects: [{ word: "same object", bytes: 100 }] };
    put("a:1", { ...same, pulledAt: 1 });
    put("a:latest", { ...same, pulledAt: 1 });
    put("b:1", { pulledAt: 2 });
    expect(goneIn(await pruned({ maxBytes: 11_000 }))).toEqual(["a:1 size", "a:latest size"]);
  });

  it("leaves pinned references, whatever it is asked, and their layers", async () => {
    for (const [index, name] of ["a:1", "a:2", "b:1"].entries()) put(name, { pulledAt: day + index });
    store.pin(parseReference(referenceOf("a:1")), { owner: "", reason: "", pinnedAt: 0 });
    const all = { maxBytes: 0, olderThanMs: 0, keepLast: 0, dropLayers: true };
    expect((await pruned(all)).removed).toHaveLength(2);
    expect(listed()).toEqual(["a:1"]);
    expect(store.inspect(parseReference(referenceOf("a:1")), amd64).layers).toMatchObject([
      { isCached: true },
    ]);
  });

  it("leaves what is being pulled", async () => {
    put("a:1", { pulledAt: 1 });
    put("b:1", { pulledAt: 2 });
    const other = Environment.open({ directory: store.directory });
    const owner = { process: thisProcess(), store: "another" };
    const lease = { owner, fence: 1, firstFence: 1, deadlineMs: Number.MAX_SAFE_INTEGER };
    other.commit(() => putLease(other, referenceLeaseKey(referenceOf("a:1"), "linux/amd64"), lease));
    other.close();
    expect(goneIn(await pruned({ maxBytes: 0 }))).toEqual(["b:1 size"]);
    expect(goneIn(await pruned({ keepLast: 0 }))).toEqual([]);
  });

  it("drops layers, says which are gone, and leaves the objects", async () => {
    put("a:1");
    const { removed, bytesFreed } = await pruned({ dropLayers: true });
    expect(removed).toEqual([{ digest: expect.stringMatching(/^sha256:/), bytes: 4_000, reason: "layers" }]);
    expect(bytesFreed).toBe(4_000);
    const { layers } = store.inspect(parseReference(referenceOf("a:1")), amd64);
    expect(layers).toMatchObject([{ isCached: false, digest: removed[0]?.digest }]);
    expect(store.bytecode(parseReference(referenceOf("a:1")), amd64, {}).bytes).toHaveLength(6_000);
  });

  it("frees of an image without layers what there is of it, and an image may share a layer another has dropped", async () => {
    const layers = [{ word: "shared", bytes: 3_000 }];
    put("a:1", { layers, pulledAt: 1 });
    await pruned({ dropLayers: true });
    put("b:1", {
      layers,
      objects: [
        { word: "b", bytes: 10 },
        { word: "a", bytes: 5 },
      ],
      pulledAt: 2,
    });
    const [a, b] = store.usage().images;
    expect([a, b].map((image) => (image?.bytes ?? 0) > 6_000)).toEqual([true, false]);
    expect(checkClosure(store.directory, { mayLackLayers: true })).toEqual([]);
    const { removed } = await store.prune({ maxBytes: 4_000 });
    expect(removed).toHaveLength(1);
    expect(removed[0]?.bytes).toBe(a?.uniqueBytes);
    expect(store.blob("layer", digestOf(Buffer.alloc(3_000, "shared")))).toHaveLength(3_000);
  });

  it("refuses to guess what is to go", async () => {
    await expect(store.prune({})).rejects.toMatchObject({ code: "USAGE" });
    await expect(store.prune({ maxBytes: Number.NaN })).rejects.toMatchObject({ code: "USAGE" });
    await expect(store.prune({ keepLast: -1 })).rejects.toMatchObject({ code: "USAGE" });
  });

  it("goes through more images than are removed in one transaction", async () => {
    for (let index = 0; index < 150; index++)
      put(`many:${index}`, {
        layers: [{ word: `${index}`, bytes: 10 }],
        objects: [{ word: `o${index}`, bytes: 10 }],
        pulledAt: index,
      });
    for (let index = 0; index < 70; index++)
      store.pin(parseReference(referenceOf(`many:${index}`)), { owner: "", reason: "", pinnedAt: 0 });
    expect((await pruned({ maxBytes: 0 })).removed).toHaveLength(80);
    expect(listed()).toHaveLength(70);
  });

  it("costs what it removes, and not what stays", async () => {
    const reads = async (name: string): Promise<number> => {
      put(name, { pulledAt: 1 });
      const maxBytes = store.usage().bytes - 1;
      const spies = (["get", "view", "has", "finds", "keys", "keysAfter", "entries"] as const).map((method) =>
        vi.spyOn(Tree.prototype, method),
      );
      const { removed } = await store.prune({ maxBytes, olderThanMs: 30 * day });
      expect(removed.map(({ reference }) => reference)).toEqual([referenceOf(name)]);
      const found = spies.flatMap((spy) => spy.mock.results.map(({ value }) => value));
      for (const spy of spies) spy.mockRestore();
      return found.reduce((sum, value) => sum + (Array.isArray(value) ? value.length : 1), 0);
    };
    const few = await reads("gone:1");
    for (let index = 0; index < 300; index++) put(`stays:${index}`, { pulledAt: Date.now() });
    const many = await reads("gone:2");
    // One batch is looked at by age, and one by size.
    expect(many - few).toBeLessThan(2 * 64 + 10);
  });

  it("ends with INTERRUPTED when asked to", async () => {
    put("a:1");
    await expect(store.prune({ maxBytes: 0, signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: "INTERRUPTED",
    });
    expect(listed()).toEqual(["a:1"]);
  });

  describe("of what no reference needs", () => {
    const orphan = Buffer.alloc(700, "orphan");
    let environment: Environment;

    beforeEach(() => {
      put("a:1");
      environment = Environment.open({ directory: store.directory });
    });

    afterEach(() => environment.close());

    it("finds nothing in a cache that is well", async () => {
      expect(await pruned({ unreferenced: true })).toEqual({ removed: [], bytesFreed: 0 });
    });

    it("removes content without a holder, and content whose holder is gone", async () => {
      const [first, second] = [digestOf(orphan), digestOf(Buffer.from("second"))];
      environment.commit(() => {
        putContent(environment, "layers", digestKey(first), orphan);
        putContent(environment, "objects", digestKey(second), Buffer.from("second"));
        hold(environment, "object", second, digestKey(digestOf(Buffer.from("no manifest"))));
      });
      const { removed } = await pruned({ unreferenced: true });
      expect(removed).toEqual([
        { digest: first, bytes: 700, reason: "unreferenced" },
        { digest: second, bytes: 6, reason: "unreferenced" },
      ]);
    });

    it("removes more than fits one transaction", async () => {
      const orphans = Array.from({ length: 600 }, (_, index) => Buffer.from(`orphan ${index}`));
      environment.commit(() => {
        for (const bytes of orphans) putContent(environment, "configs", digestKey(digestOf(bytes)), bytes);
      });
      expect((await pruned({ unreferenced: true })).removed).toHaveLength(600);
    });

    it("spares what a reference needs although the row that says so is lost", async () => {
      const [row] = environment.tree("heldBy").keys(Buffer.of(3)); // A layer's.
      if (row === undefined) throw new Error("no layer is held");
      environment.commit(() => environment.tree("heldBy").remove(row));
      expect(await prune(environment, { unreferenced: true })).toEqual({ removed: [], bytesFreed: 0 });
    });

    it("spares what is published between its look and its transaction", async () => {
      const late = publicationOf({ name: "late:1", layers: [{ word: "orphan", bytes: 700 }] });
      environment.commit(() => putContent(environment, "layers", digestKey(digestOf(orphan)), orphan));
      const snapshot = environment.snapshot.bind(environment);
      environment.snapshot = (read) => {
        const seen = snapshot(read);
        store.publish(late);
        return seen;
      };
      expect((await prune(environment, { unreferenced: true })).removed).toEqual([]);
      expect(checkClosure(store.directory)).toEqual([]);
    });
  });
});
