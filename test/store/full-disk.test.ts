import { execFileSync } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import type { BpfcacheError } from "../../src/core/errors.js";
import { openReader } from "../../src/reader.js";
import { compact } from "../../src/store/compact.js";
import { Environment } from "../../src/store/environment.js";
import { digestKey } from "../../src/store/keys.js";

function mountTmpfs(path: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=8m,mode=0700", "tmpfs", path], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

const mountPoint = mkdtempSync(join(tmpdir(), "bpfcache-full-"));
const isMounted = process.getuid?.() === 0 && mountTmpfs(mountPoint);

afterAll(() => {
  if (isMounted) execFileSync("umount", ["-l", mountPoint]);
  rmdirSync(mountPoint);
});

describe.skipIf(!isMounted)("a full disk (skipped: needs root, to mount a small tmpfs)", () => {
  let environment: Environment;
  const first = Buffer.alloc(100_000, 1);

  beforeAll(() => {
    environment = Environment.open({ directory: join(mountPoint, "cache") });
    environment.commit(() => environment.tree("layers").put(digestKey(digestOf(first)), first));
  });

  afterAll(() => environment.close());

  function fill(): void {
    for (let i = 0; i < 100; i++) {
      const bytes = Buffer.alloc(200_000, i);
      environment.commit(() => environment.tree("layers").put(digestKey(digestOf(bytes)), bytes));
    }
  }

  it("is CACHE_FULL, rolls back, leaves what is there readable, and ends with the shortage", () => {
    const ballast = join(mountPoint, "ballast");
    writeFileSync(ballast, Buffer.alloc(2_000_000));
    expect(fill).toThrow(expect.objectContaining({ code: "CACHE_FULL" }));
    expect(environment.snapshot(() => environment.tree("layers").get(digestKey(digestOf(first))))).toEqual(
      first,
    );
    rmSync(ballast);
    const late = Buffer.alloc(100_000, 255);
    environment.commit(() => environment.tree("layers").put(digestKey(digestOf(late)), late));
    expect(environment.snapshot(() => environment.tree("layers").get(digestKey(digestOf(late))))).toEqual(
      late,
    );
  });

  it("is CACHE_FULL to a compaction, which changes nothing, and ends with the shortage", async () => {
    const ballast = join(mountPoint, "ballast");
    fillUp(ballast);
    const before = readdirSync(environment.directory);
    const expected = environment.snapshot(() => environment.tree("layers").keys());
    await expect(compact(environment)).rejects.toThrow(expect.objectContaining({ code: "CACHE_FULL" }));
    expect(readdirSync(environment.directory)).toEqual(before);
    expect(environment.snapshot(() => environment.tree("layers").keys())).toEqual(expected);
    rmSync(ballast);
    environment.commit(() => {
      for (const key of expected.slice(2)) environment.tree("layers").remove(key);
    });
    expect((await compact(environment)).bytesFreed).toBeGreaterThan(0);
    expect(environment.snapshot(() => environment.tree("layers").keys())).toEqual(expected.slice(0, 2));
  });

  it("is CACHE_FULL to a migration, which changes nothing, while readers read on", () => {
    const directory = join(mountPoint, "old");
    const ballast = join(mountPoint, "ballast");
    mkdirSync(directory, { mode: 0o700 });
    const schemaOne = readFileSync(new URL("fixtures/schema-1.mdb.gz", import.meta.url));
    writeFileSync(join(directory, "data.mdb"), gunzipSync(schemaOne), { mode: 0o600 });
    openReader({ directory }).close();
    fillUp(ballast);
    for (let i = 0; i < 2; i++) {
      expect(() => Environment.open({ directory })).toThrow(expect.objectContaining({ code: "CACHE_FULL" }));
      const reader = openReader({ directory });
      expect(reader.list()).toHaveLength(4);
      reader.close();
    }
    expect(readdirSync(directory).filter((name) => name.startsWith("schema"))).toEqual([]);
    rmSync(ballast);
    const migrated = Environment.open({ directory });
    expect(migrated.snapshot(() => migrated.tree("refs").keys())).toHaveLength(4);
    migrated.close();
    rmSync(directory, { recursive: true });
  });

  it("is CACHE_FULL to a reader for whom there is no lock file, and the process goes on", () => {
    const directory = join(mountPoint, "unlocked");
    Environment.open({ directory }).close();
    rmSync(join(directory, "lock.mdb"));
    const ballast = join(mountPoint, "ballast");
    fillUp(ballast);
    for (const readOnly of [true, false]) {
      expect(() => Environment.open({ directory, readOnly })).toThrow(
        expect.objectContaining({ code: "CACHE_FULL" }),
      );
    }
    rmSync(ballast);
    Environment.open({ directory, readOnly: true }).close();
    rmSync(directory, { recursive: true });
  });

  it("is found out before LMDB writes, whose words for it are longer than the memory that it has for them", () => {
    const ballast = join(mountPoint, "ballast");
    fillUp(ballast);
    const before = environment.snapshot(() => environment.tree("layers").keys());
    const attempts = Array.from({ length: 20 }, (_, index) => () => {
      environment.commit(() =>
        environment.tree("layers").put(Buffer.of(index), Buffer.alloc(1 + index * 9_000)),
      );
    });
    for (const attempt of attempts) {
      const failure = failureOf(attempt);
      // LMDB's own would be its cause.
      const { code, cause } = failure ?? {};
      if (failure !== undefined) expect({ code, cause }).toEqual({ code: "CACHE_FULL", cause: undefined });
    }
    expect(attempts.some((attempt) => failureOf(attempt) !== undefined)).toBe(true);
    rmSync(ballast);
    const written = environment.snapshot(() => environment.tree("layers").keys()).length - before.length;
    expect(written).toBeLessThan(20);
  });

  function failureOf(work: () => void): { readonly code?: string; readonly cause?: unknown } | undefined {
    try {
      work();
      return undefined;
    } catch (error) {
      return error as BpfcacheError;
    }
  }

  it("has room for all readers that a cache may have, made before it was full", () => {
    const { size, blocks } = statSync(join(environment.directory, "lock.mdb"));
    expect(size).toBeGreaterThan(512 * 64);
    expect(blocks * 512).toBeGreaterThanOrEqual(size);
  });

  function fillUp(path: string): void {
    const ballast = openSync(path, "w");
    try {
      for (;;) writeSync(ballast, Buffer.alloc(4096));
    } catch {
      // As full as it gets.
    } finally {
      closeSync(ballast);
    }
  }

  it("is found out before a new cache is begun", () => {
    const ballast = join(mountPoint, "ballast");
    fillUp(ballast);
    expect(() => Environment.open({ directory: join(mountPoint, "another") })).toThrow(
      expect.objectContaining({ code: "CACHE_FULL" }),
    );
    rmSync(ballast);
  });
});
