import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, describe, expect, it, vi } from "vitest";
import { BpfcacheError } from "../../src/core/errors.js";
import { defaultLimits, type Limits } from "../../src/core/limits.js";
import { monotonicMs } from "../../src/core/monotonic.js";
import { type ProcessIdentity, thisProcess } from "../../src/core/process-identity.js";
import { Environment } from "../../src/store/environment.js";
import { LeaseGroup, LeaseLost } from "../../src/store/lease-group.js";
import {
  findLease,
  isLeased,
  type LeaseRecord,
  putLease,
  referenceLeaseKey,
} from "../../src/store/lease-rows.js";
import { Leases, type TakeOptions, type Wanted } from "../../src/store/leases.js";

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const cleanup of cleanups.splice(0).reverse()) cleanup();
});

/** Two stores on one database, as two processes have them, and the groups of two pulls. */
function twoStores(limits: Partial<Limits> = {}) {
  const first = openStore(undefined, limits);
  return { first, second: openStore(first.environment.directory, limits), environment: first.environment };
}

function openStore(directory: string | undefined, limits: Partial<Limits> = {}) {
  const environment = Environment.open({ directory });
  const leases = new Leases(environment, { ...defaultLimits, ...limits });
  const close = (): void => {
    leases.close();
    environment.close();
  };
  cleanups.push(close);
  const group = () => new LeaseGroup(environment, leases);
  return { environment, group, close };
}

/** Things that never come by themselves. */
function wanted(...names: string[]): Wanted[] {
  return names.map((name) => ({ key: keyOf(name), isHere: () => false }));
}

function keyOf(name: string): Buffer {
  return referenceLeaseKey(name, "linux/amd64");
}

/** A group that holds leases on these. */
async function holding(store: ReturnType<typeof openStore>, ...names: string[]): Promise<LeaseGroup> {
  const group = store.group();
  await group.take(wanted(...names), {});
  return group;
}

/** What is known of a wait a little later. */
async function soon(wait: Promise<unknown>): Promise<"done" | "waiting"> {
  return Promise.race([wait.then(() => "done" as const), sleep(120).then(() => "waiting" as const)]);
}

function leaseOf(owner: Partial<ProcessIdentity>, changes: Partial<LeaseRecord> = {}): LeaseRecord {
  return {
    owner: { process: { ...thisProcess(), ...owner }, store: "another" },
    fence: 7,
    firstFence: 7,
    deadlineMs: monotonicMs() + 60_000,
    ...changes,
  };
}

const dead = { startTime: "1" };
const elsewhere = { pidNamespace: "pid:[1]" };
const past = { deadlineMs: 0 };

/** Whether a lease that lies there is taken over. */
async function isTakenOver(lease: LeaseRecord): Promise<boolean> {
  const { environment, group } = openStore(undefined);
  environment.commit(() => putLease(environment, keyOf("a"), lease));
  const abort = new AbortController();
  const wait = group().take(wanted("a"), { signal: abort.signal });
  const outcome = await soon(wait);
  abort.abort();
  await wait.catch(() => {});
  return outcome === "done";
}

async function codeOf(wait: Promise<unknown>): Promise<string> {
  return wait.then(
    () => "nothing",
    (error) => (error instanceof BpfcacheError ? error.code : String(error)),
  );
}

describe("a lease", () => {
  it("makes another store wait until it is given back", async () => {
    const { first, second } = twoStores();
    const group = await holding(first, "a");
    const wait = second.group().take(wanted("a"), {});
    expect(await soon(wait)).toBe("waiting");
    group.giveBack();
    await wait;
  });

  it("is waited for by reading only", async () => {
    const { first, second } = twoStores();
    const group = await holding(first, "a");
    const commits = vi.spyOn(second.environment, "commit");
    const wait = second.group().take(wanted("a"), {});
    await soon(wait);
    expect(commits).not.toHaveBeenCalled();
    group.giveBack();
    await wait;
  });

  it("is not needed any more by those who see that what they wait for has come", async () => {
    const { first, second } = twoStores();
    await holding(first, "a");
    let isHere = false;
    const wait = second.group().take([{ key: keyOf("a"), isHere: () => isHere }], {});
    expect(await soon(wait)).toBe("waiting");
    isHere = true;
    await wait;
  });

  it("on several things is had on all or none", async () => {
    const { first, second, environment } = twoStores();
    const group = await holding(first, "b");
    const wait = second.group().take(wanted("a", "b"), {});
    expect(await soon(wait)).toBe("waiting");
    expect(environment.snapshot(() => findLease(environment, keyOf("a")))).toBeUndefined();
    group.giveBack();
    await wait;
    expect(environment.snapshot(() => isLeased(environment, "a", "linux/amd64"))).toBe(true);
  });

  it("on things asked for twice is had once", async () => {
    const store = openStore(undefined);
    const group = await holding(store, "a", "a");
    await group.take(wanted("a"), {});
    store.environment.commit(() => group.handIn());
    expect(store.environment.tree("leases").size).toBe(0);
  });

  it("is shared by the pulls of one store, and free when the last of them has given it back", async () => {
    const { first, second } = twoStores();
    const groups = [await holding(first, "a"), await holding(first, "a")];
    const wait = second.group().take(wanted("a"), {});
    groups[0]?.giveBack();
    expect(await soon(wait)).toBe("waiting");
    groups[1]?.giveBack();
    await wait;
  });

  it("costs a share of one transaction when many are asked for in one turn", async () => {
    const { environment, group } = openStore(undefined);
    const commits = vi.spyOn(environment, "commit");
    const names = Array.from({ length: 20 }, (_, index) => `name-${index}`);
    await Promise.all(names.map((name) => group().take(wanted(name), {})));
    expect(commits).toHaveBeenCalledTimes(1);
    expect(environment.tree("leases").size).toBe(20);
  });

  it("has a higher fence than every one before", async () => {
    const { first, second, environment } = twoStores();
    const fences: number[] = [];
    for (const store of [first, second, first, second]) {
      const group = await holding(store, "a");
      fences.push(environment.snapshot(() => findLease(environment, keyOf("a"))?.fence ?? 0));
      group.giveBack();
    }
    expect(fences).toEqual([...new Set(fences)].sort((a, b) => a - b));
  });

  it("is given back when the store is closed", async () => {
    const { first, environment, second } = twoStores();
    await holding(second, "a");
    second.close();
    expect(environment.snapshot(() => environment.tree("leases").size)).toBe(0);
    await holding(first, "a");
  });

  it("is renewed while it is held", async () => {
    const { environment, ...store } = openStore(undefined, { leaseMs: 60 });
    const group = await holding({ environment, ...store }, "a");
    const first = findLease(environment, keyOf("a"))?.deadlineMs ?? 0;
    await vi.waitFor(() => expect(findLease(environment, keyOf("a"))?.deadlineMs).toBeGreaterThan(first));
    group.giveBack();
  });

  it.each([1, -1])("neither ends nor lasts longer when the clock is set by %i day", async (days) => {
    const { first, second } = twoStores();
    const group = await holding(first, "a");
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() + days * 86_400_000 });
    try {
      const wait = second.group().take(wanted("a"), {});
      expect(await soon(wait)).toBe("waiting");
      group.giveBack();
      await wait;
    } finally {
      vi.useRealTimers();
    }
  });
});

describe("a wait for a lease", () => {
  async function waitFor(options: TakeOptions, limits: Partial<Limits> = {}) {
    const { first, second } = twoStores(limits);
    const group = await holding(first, "a");
    return { first, group, wait: second.group().take(wanted("a"), options) };
  }

  it("ends as CACHE_BUSY when it takes too long", async () => {
    const { wait } = await waitFor({}, { leaseWaitMs: 50 });
    expect(await codeOf(wait)).toBe("CACHE_BUSY");
  });

  it("ends as INTERRUPTED with the caller's signal", async () => {
    const abort = new AbortController();
    const { wait } = await waitFor({ signal: abort.signal });
    abort.abort();
    expect(await codeOf(wait)).toBe("INTERRUPTED");
  });

  it("for one owner alone ends when that one has failed and another is there", async () => {
    const { first, group, wait } = await waitFor({ onlyForOneOwner: true });
    await soon(wait);
    group.giveBack();
    await holding(first, "a");
    await wait;
  });

  it("for one owner alone goes on when that one died and another has taken over", async () => {
    const { first, second, environment } = twoStores();
    environment.commit(() => putLease(environment, keyOf("a"), leaseOf(elsewhere)));
    const abort = new AbortController();
    const wait = second.group().take(wanted("a"), { onlyForOneOwner: true, signal: abort.signal });
    await soon(wait);
    environment.commit(() => putLease(environment, keyOf("a"), leaseOf(dead)));
    await holding(first, "a");
    expect(await soon(wait)).toBe("waiting");
    abort.abort();
    await wait.catch(() => {});
  });
});

describe("a lease whose owner", () => {
  it.each([
    ["was on another boot", { bootId: "another" }, {}],
    ["has died", dead, {}],
    ["is in another pid namespace and did not renew it", elsewhere, past],
    ["lives, and has not renewed it for long", {}, past],
  ])("%s is taken over", async (_, owner, changes) => {
    expect(await isTakenOver(leaseOf(owner, changes))).toBe(true);
  });

  it.each([
    ["lives, and is slow", {}, { deadlineMs: monotonicMs() - 5_000 }],
    ["is in another pid namespace and renews it", elsewhere, {}],
  ])("%s is not", async (_, owner, changes) => {
    expect(await isTakenOver(leaseOf(owner, changes))).toBe(false);
  });

  it("cannot be read is taken over", async () => {
    const store = openStore(undefined);
    const { environment } = store;
    environment.commit(() => environment.tree("leases").put(keyOf("a"), Buffer.from("nonsense")));
    await holding(store, "a");
  });

  it("has died is removed by the next one who takes any", async () => {
    const store = openStore(undefined);
    const { environment } = store;
    environment.commit(() => {
      putLease(environment, keyOf("dead"), leaseOf(dead));
      putLease(environment, keyOf("alive"), leaseOf({}));
    });
    await holding(store, "a");
    expect(environment.tree("leases").keys()).toEqual([keyOf("a"), keyOf("alive")]);
  });

  it("has died says of no image that it is being pulled", () => {
    const { environment } = openStore(undefined);
    const isNow = (lease: LeaseRecord): boolean => {
      environment.commit(() => putLease(environment, keyOf("a"), lease));
      return isLeased(environment, "a", "linux/amd64");
    };
    expect([isNow(leaseOf({})), isNow(leaseOf(dead))]).toEqual([true, false]);
  });
});

describe("leases handed in", () => {
  it("go with what is written in the same transaction", async () => {
    const store = openStore(undefined);
    const group = await holding(store, "a", "b");
    store.environment.commit(() => group.handIn());
    expect(store.environment.tree("leases").size).toBe(0);
    const commits = vi.spyOn(store.environment, "commit");
    group.giveBack();
    await soon(new Promise(() => {}));
    expect(commits).not.toHaveBeenCalled();
  });

  it("are still there when that transaction fails", async () => {
    const store = openStore(undefined);
    const group = await holding(store, "a");
    const fail = (): void =>
      store.environment.commit(() => {
        group.handIn();
        throw new Error("no");
      });
    expect(fail).toThrow("no");
    expect(store.environment.tree("leases").size).toBe(1);
    store.environment.commit(() => group.handIn());
  });

  it("stay for another pull of the same store", async () => {
    const store = openStore(undefined);
    const groups = [await holding(store, "a"), await holding(store, "a")];
    for (const [index, left] of [1, 0].entries()) {
      store.environment.commit(() => groups[index]?.handIn());
      expect(store.environment.tree("leases").size).toBe(left);
      groups[index]?.giveBack();
    }
  });

  it("after another has taken over are refused, and what was written is not", async () => {
    const store = openStore(undefined);
    const { environment } = store;
    const group = await holding(store, "a", "b");
    environment.commit(() => putLease(environment, keyOf("b"), leaseOf({})));
    const publish = (): void =>
      environment.commit(() => {
        environment.tree("refs").put(Buffer.from("x"), Buffer.from("y"));
        group.handIn();
      });
    expect(publish).toThrow(LeaseLost);
    expect(environment.tree("refs").size).toBe(0);
  });

  it("after another has taken over leave the other's lease alone when given back", async () => {
    const { environment, second } = twoStores();
    const group = await holding(second, "a");
    environment.commit(() => putLease(environment, keyOf("a"), leaseOf({})));
    group.giveBack();
    second.close();
    expect(environment.snapshot(() => findLease(environment, keyOf("a"))?.owner.store)).toBe("another");
  });
});
