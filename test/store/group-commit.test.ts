import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { BpfcacheError } from "../../src/core/errors.js";
import { Environment } from "../../src/store/environment.js";
import { GroupCommit } from "../../src/store/group-commit.js";

let directory: string;
let environment: Environment;
let commits: number;

/** Counts the transactions that are no part of another. */
function openCounted(path: string): Environment {
  const opened = Environment.open({ directory: path });
  const commit = opened.commit.bind(opened);
  let depth = 0;
  opened.commit = (write) => {
    if (depth === 0) commits++;
    depth++;
    try {
      return commit(write);
    } finally {
      depth--;
    }
  };
  return opened;
}

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfcache-group-"));
  environment = openCounted(directory);
  commits = 0;
});

afterEach(() => {
  environment.close();
  rmSync(directory, { recursive: true, force: true });
});

function put(name: string): void {
  environment.commit(() => environment.tree("meta").put(Buffer.from(name), Buffer.from(name)));
}

function has(name: string): boolean {
  return environment.tree("meta").has(Buffer.from(name));
}

/** As a pull does: at work for a moment, then with something to write. */
function writing(group: GroupCommit, write: () => void, bytes = 1): Promise<void> {
  return group.join(async () => {
    await setImmediate();
    await group.run(write, bytes);
  });
}

describe("writes of several at work", () => {
  it("are committed at once when all of them wait", async () => {
    const group = new GroupCommit(environment);
    const names = ["a", "b", "c", "d"];
    const work = async (name: string): Promise<boolean> => {
      await new Promise((resolve) => setTimeout(resolve, 5 * Math.random()));
      await group.run(() => put(name), 1);
      return has(name);
    };
    expect(await Promise.all(names.map((name) => group.join(() => work(name))))).toEqual([
      true,
      true,
      true,
      true,
    ]);
    expect(commits).toBe(1);
  });

  it("make room for the next at work while they wait, so that more than may be at work are committed together", async () => {
    const group = new GroupCommit(environment, 2);
    let atWork = 0;
    let mostAtWork = 0;
    const work = async (name: string): Promise<void> => {
      mostAtWork = Math.max(mostAtWork, ++atWork);
      await setImmediate();
      atWork--;
      await group.run(() => put(name), 1);
    };
    await Promise.all(["a", "b", "c", "d", "e", "f"].map((name) => group.join(() => work(name))));
    expect([mostAtWork, commits]).toEqual([2, 1]);
  });

  it("do not wait for one that has left with nothing to write, nor for ever for one that goes on", async () => {
    const group = new GroupCommit(environment);
    let finish = (): void => {};
    const endless = group.join(() => new Promise<void>((resolve) => (finish = resolve)));
    const failed = group.join(async () => Promise.reject(new Error("of its own")));
    await expect(failed).rejects.toThrow("of its own");
    await group.join(() => group.run(() => put("a"), 1));
    expect(has("a")).toBe(true);
    finish();
    await endless;
  });

  it("fail alone when they may not be done", async () => {
    const group = new GroupCommit(environment);
    const refuse = (): void => {
      throw new BpfcacheError("USAGE", "not this one");
    };
    const writes = [() => put("a"), refuse, () => put("b")];
    const outcomes = await Promise.allSettled(writes.map((write) => writing(group, write)));
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect([has("a"), has("b"), commits]).toEqual([true, true, 1]);
  });

  it("leave nothing behind of one that breaks in the middle, and are then done one by one", async () => {
    const group = new GroupCommit(environment);
    const breaks = (): void => {
      put("half");
      throw new Error("the disk");
    };
    const writes = [() => put("a"), breaks, () => put("b")];
    const outcomes = await Promise.allSettled(writes.map((write) => writing(group, write)));
    expect(outcomes.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
    expect([has("a"), has("half"), has("b")]).toEqual([true, false, true]);
  });

  it("are not gathered beyond 4 MiB", async () => {
    const group = new GroupCommit(environment);
    const half = 2.5 * 1024 * 1024;
    await Promise.all(["a", "b", "c", "d"].map((name) => writing(group, () => put(name), half)));
    expect(commits).toBe(2);
  });
});
