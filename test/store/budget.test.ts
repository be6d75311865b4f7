import { execFileSync } from "node:child_process";
import { afterEach, describe, expect, it } from "vitest";
import type { CacheEvent } from "../../src/core/events.js";
import { parseReference } from "../../src/core/reference.js";
import { budgetOf } from "../../src/store/budget.js";
import { Store } from "../../src/store/store.js";
import { checkClosure } from "../reliability/check-closure.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { type PublicationOptions, publicationOf, referenceOf } from "./publications.js";

const hour = 3_600_000;

describe("a budget", () => {
  const directories: TemporaryDirectory[] = [];
  const stores: Store[] = [];

  afterEach(() => {
    for (const store of stores.splice(0)) store.close();
    for (const directory of directories.splice(0)) directory[Symbol.dispose]();
  });

  function open(maxBytes: number, graceMs?: number): Store {
    const directory = new TemporaryDirectory();
    directories.push(directory);
    const store = Store.open({ directory: directory.join("cache"), budget: budgetOf(maxBytes, graceMs) });
    stores.push(store);
    return store;
  }

  /** An image of about 10,000 bytes. */
  function put(store: Store, name: string, options: Partial<PublicationOptions> = {}): CacheEvent[] {
    const events: CacheEvent[] = [];
    const filling = {
      layers: [{ word: name, bytes: 9_000 }],
      objects: [{ word: `${name} object`, bytes: 600 }],
    };
    const publication = publicationOf({ name, ...filling, ...options });
    store.publish({ ...publication, onEvent: (event) => events.push(event) });
    expect(checkClosure(store.directory)).toEqual([]);
    return events;
  }

  const listed = (store: Store): string[] =>
    store.list().map(({ reference }) => reference.slice(referenceOf("").length));
  const longAgo = (step: number) => ({ pulledAt: Date.now() - hour + step });

  it("evicts nothing up to the high mark, and from there down to the low one, the least recently used first", () => {
    const store = open(95_000);
    for (let index = 1; index <= 8; index++) expect(put(store, `a:${index}`, longAgo(index))).toEqual([]);
    const events = put(store, "b:1");
    expect(store.usage().bytes).toBeLessThanOrEqual(71_250);
    expect(store.usage().bytes).toBeGreaterThan(61_000);
    expect(events).toMatchObject(
      ["a:1", "a:2"].map((name) => ({ event: "evicted", reference: referenceOf(name), reason: "size" })),
    );
    expect(events.every((event) => event.event === "evicted" && event.bytes > 9_600)).toBe(true);
    expect(listed(store)).toEqual(["a:3", "a:4", "a:5", "a:6", "a:7", "a:8", "b:1"]);
  });

  it("passes by what is pinned and what was pulled or used just now", () => {
    const store = open(50_000);
    put(store, "pinned:1", longAgo(1));
    put(store, "used:1", longAgo(2));
    put(store, "old:1", longAgo(3));
    put(store, "new:1");
    store.pin(parseReference(referenceOf("pinned:1")), { owner: "", reason: "", pinnedAt: 0 });
    const used = store.list().find(({ reference }) => reference === referenceOf("used:1"));
    if (used !== undefined) store.noteUse(used.manifestDigest, Date.now());
    put(store, "next:1");
    expect(listed(store)).toEqual(["new:1", "next:1", "pinned:1", "used:1"]);
  });

  it("without a grace period evicts what was pulled just now, but never what is being published", () => {
    const store = open(15_000, 0);
    for (let index = 1; index <= 4; index++) {
      put(store, `a:${index}`);
      expect(listed(store)).toEqual([`a:${index}`]);
    }
  });

  it("is kept or the publication fails, and then all is as it was", () => {
    const store = open(29_000);
    for (const name of ["a:1", "b:1", "c:1"]) {
      if (name !== "c:1") put(store, name);
      else expect(() => put(store, name)).toThrow(expect.objectContaining({ code: "CACHE_FULL" }));
    }
    expect(listed(store)).toEqual(["a:1", "b:1"]);
    expect(checkClosure(store.directory)).toEqual([]);
  });

  it("lets a reference move on when the new image fits in the place of the old one", () => {
    const store = open(15_000);
    put(store, "a:1");
    const next = publicationOf({ name: "a:1", layers: [{ word: "next", bytes: 9_500 }] });
    const blobs = next.image.layers.map((layer) => ({ ...layer, kind: "layer" as const }));
    expect(() => store.requireRoom(blobs)).toThrow(expect.objectContaining({ code: "CACHE_FULL" }));
    store.requireRoom(blobs, next.ref);
    store.publish(next);
    expect(checkClosure(store.directory)).toEqual([]);
    expect(store.usage().bytes).toBeLessThan(15_000);
  });

  it("that was lowered lets what adds nothing through", () => {
    const store = open(100_000);
    put(store, "a:1");
    const lower = Store.open({ directory: store.directory, budget: budgetOf(5_000) });
    stores.push(lower);
    put(lower, "a:1");
    expect(listed(lower)).toEqual(["a:1"]);
  });

  it("finds out before anything is fetched that there is not enough to evict, and evicts nothing yet", () => {
    const store = open(30_000);
    put(store, "old:1", longAgo(1));
    put(store, "new:1");
    const layer = (size: number) => {
      const [blob] = publicationOf({ name: "x:1", layers: [{ word: "x", bytes: size }] }).image.layers;
      if (blob === undefined) throw new Error("no layer");
      return [{ ...blob, kind: "layer" as const }];
    };
    store.requireRoom(layer(18_000));
    expect(() => store.requireRoom(layer(21_000))).toThrow(expect.objectContaining({ code: "CACHE_FULL" }));
    expect(listed(store)).toEqual(["new:1", "old:1"]);
  });

  it("is a number of bytes", () => {
    expect(budgetOf(undefined)).toBeUndefined();
    for (const wrong of [-1, 0.5, Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => budgetOf(wrong)).toThrow(expect.objectContaining({ code: "USAGE" }));
  });
});

function mountTmpfs(path: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", path], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const mountPoint = new TemporaryDirectory();
const isMounted = process.getuid?.() === 0 && mountTmpfs(mountPoint.path);

describe.skipIf(!isMounted)("a small disk (skipped: needs root, to mount a small tmpfs)", () => {
  afterEach(() => {
    execFileSync("umount", ["-l", mountPoint.path]);
    mountPoint[Symbol.dispose]();
  });

  it("refuses what cannot have room before it is fetched, free pages of the database counted in", () => {
    const store = Store.open({ directory: mountPoint.join("cache") });
    try {
      const [layer] = publicationOf({ name: "a:1" }).image.layers;
      if (layer === undefined) throw new Error("no layer");
      const ask = (size: number): void => store.requireRoom([{ ...layer, size, kind: "layer" }]);
      ask(6_000_000);
      expect(() => ask(8_000_000)).toThrow(expect.objectContaining({ code: "CACHE_FULL" }));
      store.publish(publicationOf({ name: "b:1", layers: [{ word: "b", bytes: 5_000_000 }] }));
      expect(() => ask(4_000_000)).toThrow(expect.objectContaining({ code: "CACHE_FULL" }));
      store.remove(parseReference(referenceOf("b:1")), undefined);
      expect(store.usage().freeBytes).toBeGreaterThan(5_000_000);
      ask(4_000_000);
    } finally {
      store.close();
    }
  });
});
