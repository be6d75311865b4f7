import { expect, it } from "vitest";
import { databaseFailure } from "../../src/store/failure.js";

it.each([
  ["MDB_CORRUPTED", -30_796, "CACHE_CORRUPT"],
  ["MDB_CURSOR_FULL", -30_787, "CACHE_CORRUPT"],
  ["MDB_PAGE_FULL", -30_786, "CACHE_CORRUPT"],
  ["MDB_INCOMPATIBLE", -30_784, "CACHE_CORRUPT"],
  ["MDB_READERS_FULL", -30_790, "CACHE_BUSY"],
  ["MDB_MAP_FULL", -30_792, "CACHE_FULL"],
  ["ENOSPC", 28, "CACHE_FULL"],
])("%s (%i) is %s to who uses the cache", (name, number, code) => {
  const thrown = Object.assign(new Error(`${name}: what LMDB says`), { code: number });
  expect(databaseFailure(thrown, "/tmp")).toMatchObject({ code, cause: thrown });
});

it("what is no error of LMDB stays what it is", () => {
  const thrown = new TypeError("something else");
  expect(databaseFailure(thrown, "/tmp")).toBe(thrown);
});
