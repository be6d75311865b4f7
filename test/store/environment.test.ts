import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Environment } from "../../src/store/environment.js";
import { treeNames } from "../../src/store/trees.js";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfcache-test-"));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

const key = Buffer.from("key");

function fill(path: string): void {
  const environment = Environment.open({ directory: path });
  environment.commit(() => environment.tree("layers").put(key, Buffer.alloc(100_000, 7)));
  environment.close();
}

describe("opening", () => {
  it("makes the directory and its files private", () => {
    const path = join(directory, "a", "cache.v1");
    fill(path);
    expect(statSync(path).mode & 0o777).toBe(0o700);
    expect(statSync(join(path, "data.mdb")).mode & 0o777).toBe(0o600);
    expect(statSync(join(path, "lock.mdb")).mode & 0o777).toBe(0o600);
  });

  it("shares the files with the group when the directory is shared with it", () => {
    chmodSync(directory, 0o770);
    fill(directory);
    expect(statSync(join(directory, "data.mdb")).mode & 0o007).toBe(0);
  });

  it("refuses a directory that everybody may write to", () => {
    chmodSync(directory, 0o777);
    expect(() => Environment.open({ directory })).toThrow(
      expect.objectContaining({ code: "USAGE", hint: expect.stringContaining("chmod 0700") }),
    );
    expect(existsSync(join(directory, "data.mdb"))).toBe(false);
  });

  it("read-only, finds no cache where there is none, and makes nothing", () => {
    const path = join(directory, "absent");
    expect(() => Environment.open({ directory: path, readOnly: true })).toThrow(
      expect.objectContaining({ code: "NOT_CACHED" }),
    );
    expect(existsSync(path)).toBe(false);
  });

  it("without a directory makes a temporary one and removes it on close", () => {
    const environment = Environment.open();
    const path = environment.directory;
    expect(existsSync(join(path, "data.mdb"))).toBe(true);
    environment.close();
    expect(existsSync(path)).toBe(false);
  });

  it("refuses a newer schema and leaves it as it is", () => {
    const environment = Environment.open({ directory });
    environment.commit(() => environment.tree("meta").put(Buffer.from("schema"), Buffer.of(0, 0, 0, 99)));
    environment.close();
    const before = readFileSync(join(directory, "data.mdb"));
    for (const readOnly of [false, true]) {
      expect(() => Environment.open({ directory, readOnly })).toThrow(
        expect.objectContaining({ code: "USAGE", message: expect.stringContaining("schema 99") }),
      );
    }
    expect(readFileSync(join(directory, "data.mdb")).equals(before)).toBe(true);
  });

  it("has the fixed trees, for readers too", () => {
    fill(directory);
    const reader = Environment.open({ directory, readOnly: true });
    for (const name of treeNames) expect(reader.tree(name).keys()).toBeInstanceOf(Array);
    reader.close();
  });
});

describe("a damaged file is found before LMDB sees it", () => {
  const damage: Record<string, (file: string) => void> = {
    "random bytes": (file) => writeFileSync(file, Buffer.alloc(1_000_000, 0xa5)),
    "a text file": (file) => writeFileSync(file, "hello\n".repeat(1_000)),
    "no bytes": (file) => truncateSync(file, 0),
    "100 bytes": (file) => truncateSync(file, 100),
    "one page": (file) => truncateSync(file, 4096),
    "two pages": (file) => truncateSync(file, 8192),
    "half of it": (file) => truncateSync(file, statSync(file).size / 2),
    "its first meta page zeroed": (file) => {
      const bytes = readFileSync(file);
      writeFileSync(file, bytes.fill(0, 0, 4096));
    },
    "its second meta page zeroed": (file) => {
      const bytes = readFileSync(file);
      writeFileSync(file, bytes.fill(0, 4096, 8192));
    },
  };
  it.each(Object.keys(damage))("%s: a reader refuses it, a writer moves it aside", (name) => {
    fill(directory);
    damage[name]?.(join(directory, "data.mdb"));
    const damaged = readFileSync(join(directory, "data.mdb"));
    expect(() => Environment.open({ directory, readOnly: true })).toThrow(
      expect.objectContaining({ code: "CACHE_CORRUPT" }),
    );
    expect(readFileSync(join(directory, "data.mdb")).equals(damaged)).toBe(true);

    const environment = Environment.open({ directory });
    const { recovery } = environment;
    expect(environment.snapshot(() => environment.tree("layers").size)).toBe(0);
    environment.close();
    expect(recovery).toMatchObject({ fault: expect.stringContaining("is damaged: ") });
    expect(readFileSync(join(recovery?.movedTo ?? "", "data.mdb")).equals(damaged)).toBe(true);
    Environment.open({ directory, readOnly: true }).close();
  });
});

describe("commit", () => {
  it("is all or nothing", () => {
    const environment = Environment.open({ directory });
    const write = (): never => {
      environment.tree("layers").put(key, Buffer.from("layer"));
      environment.tree("refs").put(key, Buffer.from("ref"));
      throw new Error("in the middle");
    };
    expect(() => environment.commit(write)).toThrow("in the middle");
    expect(environment.snapshot(() => environment.tree("layers").get(key))).toBeUndefined();
    expect(environment.snapshot(() => environment.tree("refs").get(key))).toBeUndefined();
    environment.close();
  });

  it("is seen by its own reads", () => {
    const environment = Environment.open({ directory });
    const seen = environment.commit(() => {
      environment.tree("refs").put(key, Buffer.from("ref"));
      return environment.tree("refs").get(key)?.toString();
    });
    expect(seen).toBe("ref");
    environment.close();
  });

  it("keeps keys of any bytes in order, and finds them by prefix", () => {
    const environment = Environment.open({ directory });
    const keys = [[0], [0, 0], [1, 255], [1, 255, 255], [2], [255], [255, 255]].map((bytes) =>
      Buffer.from(bytes),
    );
    environment.commit(() => {
      for (const each of [...keys].reverse()) environment.tree("usage").put(each, each);
    });
    const read = (prefix?: Buffer): string[] =>
      environment.snapshot(() =>
        environment
          .tree("usage")
          .keys(prefix)
          .map((each) => each.toString("hex")),
      );
    expect(read()).toEqual(["00", "0000", "01ff", "01ffff", "02", "ff", "ffff"]);
    expect(read(Buffer.of(1, 255))).toEqual(["01ff", "01ffff"]);
    expect(read(Buffer.of(255))).toEqual(["ff", "ffff"]);
    expect(read(Buffer.of(3))).toEqual([]);
    environment.close();
  });
});

it("a closed environment refuses to be used", () => {
  const environment = Environment.open({ directory });
  environment.close();
  environment.close();
  expect(() => environment.snapshot(() => 1)).toThrow(expect.objectContaining({ code: "USAGE" }));
  expect(() => environment.commit(() => 1)).toThrow(expect.objectContaining({ code: "USAGE" }));
  expect(() => environment.tree("refs")).toThrow(expect.objectContaining({ code: "USAGE" }));
});
