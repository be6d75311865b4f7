import { execFileSync } from "node:child_process";
import { afterEach, beforeEach, expect, it } from "vitest";
import { compact } from "../../src/store/compact.js";
import { Environment } from "../../src/store/environment.js";
import { TemporaryDirectory } from "../reliability/processes.js";

let directory: TemporaryDirectory;
let environment: Environment;

beforeEach(() => {
  directory = new TemporaryDirectory();
  environment = Environment.open({ directory: directory.path });
  for (const name of ["first", "second", "third"]) put(name);
});

afterEach(() => {
  environment.close();
  directory[Symbol.dispose]();
});

function put(name: string): void {
  environment.commit(() => environment.tree("meta").put(Buffer.from(name), Buffer.from("put")));
}

function names(): string[] {
  return environment.snapshot(() =>
    ["first", "second", "third", "fourth"].filter((name) => environment.tree("meta").has(Buffer.from(name))),
  );
}

/** The number in the lock file, after `change`. In a process of its own: closing the file takes a process's locks on it away. */
function numberInLockFile(change = 0): number {
  const program = `
    const fs = require("node:fs");
    const file = fs.openSync(process.argv[1], "r+");
    const bytes = Buffer.alloc(8);
    fs.readSync(file, bytes, 0, 8, 8);
    bytes.writeBigUInt64LE(bytes.readBigUInt64LE() + BigInt(process.argv[2]));
    fs.writeSync(file, bytes, 0, 8, 8);
    console.log(String(bytes.readBigUInt64LE()));`;
  const lock = directory.join("lock.mdb");
  return Number(execFileSync(process.execPath, ["-e", program, lock, String(change)], { encoding: "utf8" }));
}

it("the lock file says which transaction is the newest", () => {
  expect(numberInLockFile()).toBe(environment.lastTransaction);
});

it.each([1, 2, 3])(
  "a commit goes on from the newest state when another process has taken the number back by %i",
  (by) => {
    numberInLockFile(-by);
    put("fourth");
    expect(names()).toEqual(["first", "second", "third", "fourth"]);
    expect(numberInLockFile()).toBe(environment.lastTransaction);
  },
);

it.each([true, false])("opening it (read-only: %s) corrects the number, for those that read", (readOnly) => {
  numberInLockFile(-1);
  expect(names()).toEqual(["first", "second"]);
  Environment.open({ directory: directory.path, readOnly }).close();
  expect(names()).toEqual(["first", "second", "third"]);
});

it("a number beyond the newest, of the files that were there before, is lowered by who opens it or writes", () => {
  const newest = environment.lastTransaction;
  numberInLockFile(101);
  Environment.open({ directory: directory.path, readOnly: true }).close();
  expect(numberInLockFile()).toBe(newest);
  numberInLockFile(101);
  put("fourth");
  expect(names()).toEqual(["first", "second", "third", "fourth"]);
  expect(numberInLockFile()).toBe(environment.lastTransaction);
});

it("mutexes that the last one to close it has destroyed are made again by who opens it", () => {
  const destroy = `
    const fs = require("node:fs");
    const file = fs.openSync(process.argv[1], "r+");
    const bytes = Buffer.alloc(256);
    fs.readSync(file, bytes, 0, bytes.length, 0);
    // Robust, and shared by processes: that is how glibc marks those that are made.
    for (let at = 0; at < bytes.length; at += 8)
      if (bytes.readUInt32LE(at) === 0x90) fs.writeSync(file, Buffer.alloc(4, 0xff), 0, 4, at);`;
  execFileSync(process.execPath, ["-e", destroy, directory.join("lock.mdb")]);
  expect(() => put("fourth")).toThrow(expect.objectContaining({ code: "CACHE_CORRUPT" }));
  const another = Environment.open({ directory: directory.path });
  another.commit(() => another.tree("meta").put(Buffer.from("fourth"), Buffer.from("put")));
  another.close();
  put("first");
  expect(names()).toEqual(["first", "second", "third", "fourth"]);
});

it.each([1, 2, 9, 10])(
  "a compact copy is whole for readers that are led to %i transactions later",
  async (by) => {
    await compact(environment);
    numberInLockFile(by);
    expect(names()).toEqual(["first", "second", "third"]);
  },
);
