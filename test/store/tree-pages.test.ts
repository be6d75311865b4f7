import { closeSync, copyFileSync, fstatSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { Environment } from "../../src/store/environment.js";
import { pageBytes } from "../../src/store/header.js";
import { TemporaryDirectory } from "../reliability/processes.js";

/** How LMDB lays out a page (mdb.c): a header, then where each entry is, and the entries from the end on. */
const headerBytes = 24;
const kinds = { branch: 1, leaf: 2, overflow: 4 } as const;

const tree = "layers";
const rows = 1_000;
const large = Buffer.alloc(20_000, 7);

function keyOf(row: number): Buffer {
  return Buffer.from(`key ${String(row).padStart(6, "0")} ${"x".repeat(row % 90)}`);
}

describe("the pages of a tree", () => {
  const directory = new TemporaryDirectory();
  let environment: Environment;

  beforeAll(() => {
    environment = Environment.open({ directory: directory.join("original") });
    environment.commit(() => {
      for (let row = 0; row < rows; row++)
        environment.tree(tree).put(keyOf(row), row % 100 === 50 ? large : Buffer.alloc(row % 200, row));
    });
    environment.close();
  });

  afterAll(() => directory[Symbol.dispose]());

  /** A copy of the database, a reader of it, and its file. */
  let copy: string;
  let reader: Environment;
  let file: number;
  let copies = 0;

  beforeEach(() => {
    copy = directory.join(`copy-${copies++}`);
    Environment.open({ directory: copy }).close();
    copyFileSync(join(directory.join("original"), "data.mdb"), join(copy, "data.mdb"));
    reader = Environment.open({ directory: copy, readOnly: true });
    file = openSync(join(copy, "data.mdb"), "r+");
  });

  afterEach(() => {
    reader.close();
    closeSync(file);
  });

  function pageAt(number: number): Buffer {
    const page = Buffer.alloc(pageBytes);
    readSync(file, page, 0, pageBytes, number * pageBytes);
    return page;
  }

  function put(number: number, page: Buffer): void {
    writeSync(file, page, 0, page.length, number * pageBytes);
  }

  /** The numbers of pages of one kind that have keys of this tree, or, of overflow pages, its values. */
  function pagesOf(kind: keyof typeof kinds): number[] {
    const numbers = Array.from({ length: fstatSync(file).size / pageBytes }, (_, number) => number);
    const mark = kind === "overflow" ? large.subarray(0, 16) : Buffer.from("key 0");
    return numbers.filter((number) => {
      const page = pageAt(number);
      return number > 1 && page.readUInt16LE(18) === kinds[kind] && page.includes(mark);
    });
  }

  function change(kind: keyof typeof kinds, edit: (page: Buffer) => unknown, index = 0): void {
    const number = pagesOf(kind)[index];
    if (number === undefined) throw new Error(`there is no ${kind} page`);
    const page = pageAt(number);
    edit(page);
    put(number, page);
  }

  /** Where the entry is in its page. */
  function entry(page: Buffer, index: number): number {
    return headerBytes + page.readUInt16LE(headerBytes + 2 * index);
  }

  function attempt<T>(read: () => T): T | unknown {
    try {
      return reader.snapshot(read);
    } catch (error) {
      return error;
    }
  }

  const damaged = (fault: string): object =>
    expect.objectContaining({ code: "CACHE_CORRUPT", message: expect.stringContaining(fault) });

  it("are sound as they are written, and read to the last key", () => {
    const keys = attempt(() => reader.tree(tree).keys()) as Buffer[];
    expect(keys.map(String)).toEqual(Array.from({ length: rows }, (_, row) => String(keyOf(row))));
    expect(attempt(() => reader.examineAll(tree))).toBeUndefined();
  });

  const zeros = (page: Buffer): unknown => page.fill(0);
  /** So many bytes of the page, or of an entry of it, say something else. */
  const say = (at: number, value: number, bytes = 2) => {
    return (page: Buffer): unknown => page.writeUIntLE(value, at, bytes);
  };
  const sayOf = (index: number, at: number, value: number, bytes = 2) => {
    return (page: Buffer): unknown => page.writeUIntLE(value, entry(page, index) + at, bytes);
  };
  const leadTwice = (page: Buffer): unknown =>
    page.writeUIntLE(page.readUIntLE(entry(page, 1), 6), entry(page, 2), 6);

  const damage: Record<string, Record<string, [keyof typeof kinds, (page: Buffer) => unknown]>> = {
    "says it is another one": {
      "a leaf of zeros": ["leaf", zeros],
      "a branch of zeros": ["branch", zeros],
      "a leaf of another number": ["leaf", say(0, 0xff, 1)],
    },
    "of another kind": { "a leaf that is no leaf": ["leaf", say(18, kinds.overflow)] },
    "impossible bounds": {
      "more entries than have room": ["leaf", say(20, 4_000)],
      "a branch with one entry": ["branch", say(20, 2)],
    },
    "an entry that is not in it": {
      "an entry behind the page": ["leaf", say(24, 4_090)],
      "a key that is longer than its page": ["leaf", sayOf(2, 6, 4_000)],
      "a value that is longer than its page": ["leaf", sayOf(2, 0, 4_000)],
    },
    "an entry without a key": { "a key of no bytes": ["leaf", sayOf(2, 6, 0)] },
    "an entry of an impossible kind": { "an entry of another kind": ["leaf", sayOf(2, 4, 2)] },
    "keys out of order": {
      "a key that is greater than the next": ["leaf", sayOf(1, 8, 0x7a, 1)],
      "a first key that is looked for elsewhere": ["leaf", sayOf(0, 8, 0x20, 1)],
      "a branch that says so of its second page": ["branch", sayOf(1, 8, 0x7a, 1)],
      "a branch that leads to a page twice": ["branch", leadTwice],
    },
    "not in the file": { "a branch that leads out of the file": ["branch", sayOf(1, 2, 0x7fff)] },
    "is not the value that it is said to be": {
      "a value of zeros": ["overflow", zeros],
      "a value of fewer pages": ["overflow", say(20, 1, 4)],
    },
  };
  const cases = Object.entries(damage).flatMap(([fault, kindsOfIt]) =>
    Object.entries(kindsOfIt).map(([what, [kind, edit]]) => [what, kind, edit, fault] as const),
  );

  it.each(cases)("tell of %s, and nobody who walks through them dies", (_, kind, edit, fault) => {
    change(kind, edit, kind === "leaf" ? 1 : 0);
    expect(attempt(() => reader.tree(tree).keys())).toEqual(damaged(fault));
    expect(attempt(() => reader.tree(tree).entries())).toEqual(damaged(fault));
    expect(attempt(() => reader.examineAll(tree))).toEqual(damaged(fault));
  });

  it("tell of a value that is not all in the file, when all is looked at", () => {
    const first = pagesOf("overflow")[0] ?? 0;
    const pages = 10_000;
    change("overflow", (page) => page.writeUInt32LE(pages, 20));
    for (const number of pagesOf("leaf")) {
      const page = pageAt(number);
      const note = Buffer.alloc(8);
      note.writeBigUInt64LE(BigInt(first));
      const at = page.indexOf(note, headerBytes);
      if (at > 0) page.writeBigUInt64LE(BigInt(pages), at + 16);
      put(number, page);
    }
    expect(attempt(() => reader.tree(tree).keys().length)).toEqual(damaged("does not have what it counts"));
    expect(attempt(() => reader.tree(tree).keys(Buffer.from("key 00005")).length)).toBe(10);
    expect(attempt(() => reader.examineAll(tree))).toEqual(damaged("the file ends within a value"));
  });

  it("are examined by the next who may write, when a reader has met damage, and moved aside", () => {
    change("leaf", (page) => page.writeUInt8(0x20, entry(page, 0) + 8), 1);
    attempt(() => reader.tree(tree).keys());
    const writer = Environment.open({ directory: copy });
    expect(writer.recovery?.fault).toMatch(/keys out of order/);
    expect(writer.snapshot(() => writer.tree(tree).keys())).toEqual([]);
    writer.close();
  });

  it("are looked at as far as a walk goes: to the first key behind it", () => {
    const leaves = pagesOf("leaf").length;
    const faults = Array.from({ length: leaves }, (_, index) => {
      const number = pagesOf("leaf")[index] ?? 0;
      const before = pageAt(number);
      put(number, Buffer.alloc(pageBytes));
      const found = attempt(() => reader.tree(tree).keys(Buffer.from("key 0002")));
      put(number, before);
      return found instanceof Error;
    });
    expect(faults.filter(Boolean).length).toBeGreaterThan(2);
    expect(faults.filter(Boolean).length).toBeLessThan(leaves / 2);
  });
});

it("are sound whatever was put and removed", () => {
  using directory = new TemporaryDirectory();
  const environment = Environment.open({ directory: directory.path });
  const key = fc.uint8Array({ minLength: 1, maxLength: 300 }).map((bytes) => Buffer.from(bytes));
  const change = fc.record({ key, bytes: fc.nat({ max: 9_000 }) });
  fc.assert(
    fc.property(fc.array(change, { minLength: 50, maxLength: 200 }), fc.nat({ max: 3 }), (changes, kept) => {
      environment.commit(() => {
        for (const { key, bytes } of changes) environment.tree(tree).put(key, Buffer.alloc(bytes));
        for (const [index, { key }] of changes.entries())
          if (index % 4 > kept) environment.tree(tree).remove(key);
      });
      environment.examineAll(tree);
      const keys = environment.snapshot(() => environment.tree(tree).keys());
      return keys.length === environment.snapshot(() => environment.tree(tree).size);
    }),
    { numRuns: 50 },
  );
  environment.close();
});
