import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openCache, openStore, type StateStore, type TreeEvent } from "../../src/index.js";
import { randomFrom } from "../reliability/processes.js";
import { seed } from "../reliability/soak.js";

let home: string;
let directory: string;
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), "bpfcache-trees-"));
  directory = join(home, "cache");
});
afterEach(() => rmSync(home, { recursive: true }));

describe("a tree", () => {
  it(`is a Map in the order of its keys' bytes over 10,000 steps, across reopen (seed ${seed})`, () => {
    const random = randomFrom(seed);
    const pick = (count: number): number => Math.floor(random() * count);
    const bytes = (longest: number): Buffer =>
      Buffer.from(Array.from({ length: pick(longest) }, () => pick(4) * 85));
    const models = new Map(["a", "b", "ab"].map((name) => [name, new Map<string, Buffer>()]));
    const names = [...models.keys()];
    // In memory: syncing thousands of commits to a disk would show nothing more.
    const memory = mkdtempSync(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "bpfcache-trees-"));
    let store = openStore({ directory: memory });
    for (let step = 0; step < 10_000; step++) {
      const name = names[pick(names.length)] ?? "a";
      const model = models.get(name) ?? new Map<string, Buffer>();
      const tree = store.tree(name);
      const [key, value] = [bytes(6), bytes(20)];
      const hex = key.toString("hex");
      const former = model.get(hex);
      switch (pick(8)) {
        case 0:
        case 1:
        case 2:
          expect(tree.insert(key, value)).toEqual(former);
          model.set(hex, value);
          break;
        case 3:
          expect(tree.remove(key)).toEqual(former);
          model.delete(hex);
          break;
        case 4: {
          const expected = pick(2) === 0 ? former : value;
          const isSwapped = expected === undefined ? former === undefined : former?.equals(expected) === true;
          expect(tree.compareAndSwap(key, expected, value)).toBe(isSwapped);
          if (isSwapped) model.set(hex, value);
          break;
        }
        case 5: {
          const other = bytes(6);
          tree.batch([{ insert: key, value }, { remove: other }]);
          model.set(hex, value);
          model.delete(other.toString("hex"));
          break;
        }
        case 6:
          expect(scanned(store, name, key)).toEqual(modelled(model, hex));
          break;
        default:
          expect(tree.get(key)).toEqual(former);
      }
      if (step % 500 === 499) {
        store.close();
        store = openStore({ directory: memory });
        for (const [each, all] of models)
          expect(scanned(store, each, Buffer.alloc(0))).toEqual(modelled(all, ""));
      }
    }
    store.close();
    rmSync(memory, { recursive: true });
  }, 120_000);

  it("is one with others inside a transaction: all of it happens, or nothing", () => {
    using store = openStore({ directory });
    const [one, two] = [store.tree("one"), store.tree("two")];
    store.transaction(() => {
      one.insert("key", "1");
      two.insert("key", one.get("key") ?? "");
    });
    expect(two.get("key")?.toString()).toBe("1");
    expect(() =>
      store.transaction(() => {
        one.remove("key");
        two.insert("other", "2");
        throw new Error("no");
      }),
    ).toThrow("no");
    expect(one.get("key")?.toString()).toBe("1");
    expect(two.get("other")).toBeUndefined();
  });

  it("refuses a transaction that waits", () => {
    using store = openStore({ directory });
    const tree = store.tree("tree");
    expect(() =>
      store.transaction(async () => {
        tree.insert("key", "value");
      }),
    ).toThrow(expect.objectContaining({ code: "USAGE" }));
    expect(tree.get("key")).toBeUndefined();
  });

  it("tells watchers of this process what was committed, by any handle, and of nothing that was not", async () => {
    using watching = openStore({ directory });
    await using cache = await openCache({ directory });
    const seen: TreeEvent[] = [];
    const stop = watching.tree("links").watch("eth", (event) => void seen.push(event));
    const links = cache.tree("links");
    links.insert("eth0", "a");
    links.insert("lo", "b");
    cache.tree("other").insert("eth0", "c");
    expect(() =>
      cache.transaction(() => {
        links.insert("eth1", "d");
        throw new Error("no");
      }),
    ).toThrow("no");
    cache.transaction(() => {
      links.remove("eth0");
      expect(seen).toHaveLength(1);
    });
    stop();
    links.insert("eth2", "e");
    expect(seen.map(({ tree, key, value }) => [tree, key.toString(), value?.toString()])).toEqual([
      ["links", "eth0", "a"],
      ["links", "eth0", undefined],
    ]);
  });

  it("has a name, and is there as long as something is in it", () => {
    using store = openStore({ directory });
    const names = ["a", "ab", "b", "\0", "ÿ", "x".repeat(255)];
    for (const name of names) store.tree(name).insert("", name);
    expect([...store.treeNames()].sort()).toEqual([...names].sort());
    store.dropTree("a");
    expect(store.treeNames()).not.toContain("a");
    expect(store.tree("ab").get("")?.toString()).toBe("ab");
    for (const name of ["", "x".repeat(256)]) expect(() => store.tree(name)).toThrow(/not a tree's name/);
  });

  it("is not in the way of images, which are not in its way", async () => {
    await using cache = await openCache({ directory });
    for (const name of ["refs", "programs", "trees", "meta"]) cache.tree(name).insert("schema", "mine");
    expect(cache.list()).toEqual([]);
    expect((await cache.scrub()).damaged).toEqual([]);
    expect(cache.tree("meta").get("schema")?.toString()).toBe("mine");
  });
});

describe("a store", () => {
  it("is opened when it is first used, and no sooner", () => {
    const store = openStore({ directory: join(home, "missing", "deep") });
    const tree = store.tree("tree");
    expect(() => rmSync(join(home, "missing"), { recursive: true })).toThrow();
    expect(tree.get("key")).toBeUndefined();
    store.close();
    expect(() => tree.get("key")).toThrow(expect.objectContaining({ code: "USAGE" }));
  });

  it("is temporary without a directory", () => {
    const [one, two] = [openStore(), openStore()];
    one.tree("tree").insert("key", "one");
    expect(two.tree("tree").get("key")).toBeUndefined();
    one.close();
    two.close();
  });
});

function scanned(store: StateStore, name: string, prefix: Buffer): string[][] {
  return store
    .tree(name)
    .scanPrefix(prefix)
    .map(({ key, value }) => [key.toString("hex"), value.toString("hex")]);
}

function modelled(model: ReadonlyMap<string, Buffer>, prefix: string): string[][] {
  return [...model]
    .filter(([key]) => key.startsWith(prefix))
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, value]) => [key, value.toString("hex")]);
}
