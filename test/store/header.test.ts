import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { open } from "lmdb";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Environment } from "../../src/store/environment.js";
import { checkDataFile, emptyData, pageBytes } from "../../src/store/header.js";

let directory: string;
let sound: Buffer;
/** Which of the two meta pages is the newest: 0 or 1. */
let newest: number;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfcache-test-"));
  const environment = Environment.open({ directory: join(directory, "cache") });
  for (let i = 0; i < 5; i++)
    environment.commit(() => environment.tree("layers").put(Buffer.from(`${i}`), Buffer.alloc(9_000, i)));
  environment.commit(() => environment.tree("layers").remove(Buffer.from("3")));
  environment.close();
  sound = readFileSync(join(directory, "cache", "data.mdb"));
  newest = sound.readBigUInt64LE(152) > sound.readBigUInt64LE(pageBytes + 152) ? 0 : 1;
});

afterAll(() => rmSync(directory, { recursive: true, force: true }));

/** What is said of the file after `change`. */
function findingOf(change: (bytes: Buffer, meta: (page: number) => Buffer) => void): string {
  const bytes = Buffer.from(sound);
  change(bytes, (page) => bytes.subarray(page * pageBytes, (page + 1) * pageBytes));
  const path = join(directory, "changed.mdb");
  writeFileSync(path, bytes);
  try {
    return checkDataFile(path);
  } catch (error) {
    expect(error).toMatchObject({ code: "CACHE_CORRUPT" });
    return error instanceof Error ? error.message.replace(/^.* is damaged: /, "") : "";
  }
}

describe("the header of a data file", () => {
  it("of a new database is what LMDB itself begins with", async () => {
    const made = join(directory, "made");
    await open({ path: made, noSubdir: false, pageSize: pageBytes }).close();
    const ofLmdb = readFileSync(join(made, "data.mdb"));
    // How much of the address space is reserved is each opener's own affair.
    for (const page of [0, pageBytes]) ofLmdb.fill(0, page + 40, page + 48);
    expect(emptyData()).toEqual(ofLmdb);
  });

  it("is sound as LMDB has written it", () => expect(findingOf(() => {})).toBe("sound"));

  it.each([
    ["page size", 48, "its page size is impossible"],
    ["mark", 18, "a meta page is not marked as one"],
    ["number of its transaction", 157, "its meta pages are too far apart"],
  ])("is damaged with another %s in either meta page", (_, at, finding) => {
    for (const page of [0, 1]) expect(findingOf((__, meta) => change(meta(page), at))).toBe(finding);
  });

  it.each([
    ["flags of the list of free pages", 52, "free pages"],
    ["depth of the list of free pages", 54, "free pages"],
    ["flags of the tree of trees", 100, "the trees"],
    ["depth of the tree of trees", 103, "the trees"],
    ["leaf pages of the tree of trees", 113, "the trees"],
    ["entries of the tree of trees", 134, "the trees"],
    ["root of the tree of trees", 140, "the trees"],
  ])("is damaged with other %s in the newest meta page, and in no other", (_, at, tree) => {
    expect(findingOf((__, meta) => change(meta(newest), at))).toBe(`what it says of ${tree} is impossible`);
    expect(findingOf((__, meta) => change(meta(1 - newest), at))).toBe("sound");
  });

  it("is sound when a meta page could not be written, which has its former number and else what was to be written", () => {
    expect(
      findingOf((_, meta) => {
        const older = meta(1 - newest);
        const roots = older.subarray(48, 144);
        meta(newest).copy(roots, 0, 48, 144);
        roots.writeBigUInt64LE(meta(newest).readBigUInt64LE(144) + 7n, 88); // Behind what was the last page.
      }),
    ).toBe("sound");
  });

  it("is damaged when the root of a tree is another page, or is no page of a tree", () => {
    const fault = "the root of a tree is not one";
    expect(
      findingOf((_, meta) => {
        const root = meta(newest).readBigUInt64LE(136);
        meta(newest).writeBigUInt64LE(root === 2n ? 3n : root - 1n, 136);
      }),
    ).toBe(fault);
    expect(findingOf((bytes, meta) => bytes.fill(0, rootOf(meta), rootOf(meta) + pageBytes))).toBe(fault);
  });

  it("is not judged by what the older state leads to, whose pages may have been used again", () => {
    const older = 1 - newest;
    expect(
      findingOf((bytes, meta) => {
        const at = Number(meta(older).readBigUInt64LE(136)) * pageBytes;
        expect(at).not.toBe(rootOf(meta));
        bytes.fill(0, at, at + pageBytes);
      }),
    ).toBe("sound");
  });

  function change(meta: Buffer, at: number): void {
    meta.writeUInt8(meta.readUInt8(at) ^ 0x2c, at);
  }

  function rootOf(meta: (page: number) => Buffer): number {
    return Number(meta(newest).readBigUInt64LE(136)) * pageBytes;
  }
});
