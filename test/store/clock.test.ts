import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { budgetOf } from "../../src/store/budget.js";
import { Store } from "../../src/store/store.js";
import { checkClosure } from "../reliability/check-closure.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { publicationOf, referenceOf } from "./publications.js";

const minute = 60_000;
const day = 86_400_000;
const today = Date.UTC(2026, 9, 1);

/** The clock that is set, and the one of the boot, which nobody sets. */
class Clocks {
  #monotonicMs = 5 * minute;

  constructor(wallMs: number) {
    vi.useFakeTimers({ toFake: ["Date"], now: wallMs });
    vi.spyOn(process.hrtime, "bigint").mockImplementation(() => BigInt(this.#monotonicMs) * 1_000_000n);
  }

  pass(milliseconds: number): void {
    this.#monotonicMs += milliseconds;
    vi.setSystemTime(Date.now() + milliseconds);
  }

  set(wallMs: number): void {
    vi.setSystemTime(wallMs);
  }

  [Symbol.dispose](): void {
    vi.restoreAllMocks();
    vi.useRealTimers();
  }
}

describe("when the clock is set", () => {
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

  function put(name: string, pulledAt = Date.now(), to = store): void {
    const layers = [{ word: name, bytes: 9_000 }];
    to.publish(publicationOf({ name, layers, objects: [{ word: `${name} object`, bytes: 600 }], pulledAt }));
  }

  const listed = (): string[] => store.list().map(({ reference }) => reference.slice(referenceOf("").length));

  it("ahead, what was just used is not old, and grows old as before", async () => {
    using clocks = new Clocks(today);
    put("a:1");
    clocks.pass(day);
    clocks.set(today + 400 * day);
    expect((await store.prune({ olderThanMs: 30 * day })).removed).toEqual([]);
    put("b:1");
    clocks.pass(28 * day);
    expect((await store.prune({ olderThanMs: 30 * day, dryRun: true })).removed).toEqual([]);
    clocks.pass(1.5 * day);
    await store.prune({ olderThanMs: 30 * day });
    expect(listed()).toEqual(["b:1"]);
    clocks.pass(day);
    await store.prune({ olderThanMs: 30 * day });
    expect(listed()).toEqual([]);
  });

  it("from 1970 to today, what was used since the boot is young, and what was used long before is old", async () => {
    using clocks = new Clocks(3 * minute);
    put("before:1", today - 40 * day);
    put("booting:1");
    clocks.pass(10 * minute);
    clocks.set(today);
    put("late:1");
    clocks.pass(day);
    await store.prune({ olderThanMs: 30 * day });
    expect(listed()).toEqual(["booting:1", "late:1"]);
    expect(checkClosure(store.directory)).toEqual([]);
  });

  it("ahead and back again, nothing has changed", async () => {
    using clocks = new Clocks(today);
    put("a:1", today - 20 * day);
    put("b:1");
    clocks.pass(minute);
    clocks.set(today + 365 * day);
    put("wrong:1");
    clocks.pass(minute);
    clocks.set(today + 2 * minute);
    clocks.pass(day);
    expect((await store.prune({ olderThanMs: 10 * day })).removed.map(({ reference }) => reference)).toEqual([
      referenceOf("a:1"),
    ]);
    clocks.pass(10 * day);
    await store.prune({ olderThanMs: 10 * day });
    expect(listed()).toEqual([]);
  });

  it("back, what was used in a time that is yet to come does not keep a cache full until then", () => {
    using clocks = new Clocks(today);
    const limited = Store.open({ directory: store.directory, budget: budgetOf(35_000) });
    try {
      for (const name of ["a:1", "b:1", "c:1"]) put(name, Date.now(), limited);
      expect(() => put("now:1", Date.now(), limited)).toThrow(
        expect.objectContaining({ code: "CACHE_FULL" }),
      );
      clocks.pass(5 * minute);
      clocks.set(today - day);
      put("d:1", Date.now(), limited);
    } finally {
      limited.close();
    }
    expect(listed()).toContain("d:1");
  });
});
