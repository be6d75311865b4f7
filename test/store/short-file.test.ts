import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import { openReader } from "../../src/reader.js";
import { bytecodeImage, writeLayout } from "../support/image-builder.js";

const pageSize = 4096;
const reference = "registry.example/org/prog:v1";

let directory: string;
let file: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfcache-short-"));
  file = join(directory, "cache", "data.mdb");
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

async function openTestCache(): ReturnType<typeof openCache> {
  return openCache({ directory: join(directory, "cache") });
}

async function seed(): Promise<void> {
  const layout = join(directory, "layout");
  writeLayout(layout, [{ name: reference, root: bytecodeImage() }]);
  const cache = await openTestCache();
  expect((await cache.seed([layout])).failed).toEqual([]);
  await cache.close();
}

/** How many pages at the end were counted but never written. */
function unwrittenPages(): number {
  const bytes = readFileSync(file);
  let pages = 0;
  while (
    bytes
      .subarray(bytes.length - (pages + 1) * pageSize, bytes.length - pages * pageSize)
      .every((byte) => byte === 0)
  ) {
    pages++;
  }
  return pages;
}

describe("a data file shorter than its pages", () => {
  it("is sound when only pages that nothing uses are missing", async () => {
    await seed();
    const cache = await openTestCache();
    cache.remove(reference);
    await cache.close();
    const { size } = statSync(file);
    const pages = unwrittenPages();
    expect(
      pages,
      "LMDB has written all it counts: then this test and the probe are not needed",
    ).toBeGreaterThan(0);

    // As LMDB leaves it, and as a process killed before it could extend the file would.
    truncateSync(file, size - pages * pageSize);
    openReader({ directory: join(directory, "cache") }).close();
    await (await openTestCache()).close();
    expect(statSync(file).size).toBe(size);
  });

  it("is damaged when pages in use are missing", async () => {
    await seed();
    truncateSync(file, 4 * pageSize);
    expect(() => openReader({ directory: join(directory, "cache") })).toThrow(
      expect.objectContaining({ code: "CACHE_CORRUPT" }),
    );
    const cache = await openTestCache();
    expect(cache.list()).toEqual([]);
    await cache.close();
  });
});
