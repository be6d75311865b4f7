import { execFileSync } from "node:child_process";
import { mkdtempSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import { Environment } from "../../src/store/environment.js";
import { digestKey } from "../../src/store/keys.js";

function mountTmpfs(path: string): boolean {
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=4m,mode=0700", "tmpfs", path], { stdio: "ignore" });
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
    writeFileSync(ballast, Buffer.alloc(1_000_000));
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

  it("is found out before a new cache is begun", () => {
    const ballast = join(mountPoint, "ballast");
    try {
      writeFileSync(ballast, Buffer.alloc(8_000_000));
    } catch {
      // As full as it gets.
    }
    expect(() => Environment.open({ directory: join(mountPoint, "another") })).toThrow(
      expect.objectContaining({ code: "CACHE_FULL" }),
    );
    rmSync(ballast);
  });
});
