import { copyFileSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openReader } from "../../src/reader.js";
import { Environment } from "../../src/store/environment.js";
import { schemaOf, schemaVersion } from "../../src/store/migrations.js";
import { Store } from "../../src/store/store.js";
import { fixture, run, TemporaryDirectory } from "../reliability/processes.js";
import { faultsOf, killAtEveryStep, readAll } from "./support.js";

/** Made by bpfcache 0.1.0 when its schema was 1, for linux/amd64: one image under two names, one of two objects, one behind an index. */
const schemaOne = gunzipSync(readFileSync(new URL("fixtures/schema-1.mdb.gz", import.meta.url)));
const references = [
  "registry.example/again:v2",
  "registry.example/index:v1",
  "registry.example/plain:v1",
  "registry.example/two:v1",
];

let parent: TemporaryDirectory;
let directory: string;

beforeEach(() => {
  parent = new TemporaryDirectory();
  directory = parent.join("cache");
  putSchemaOne(directory);
});

afterEach(() => parent[Symbol.dispose]());

function putSchemaOne(path: string): void {
  mkdirSync(path, { mode: 0o700 });
  writeFileSync(join(path, "data.mdb"), schemaOne, { mode: 0o600 });
}

function schemaIn(path: string): number | undefined {
  const environment = Environment.open({ directory: path, readOnly: true });
  try {
    return environment.snapshot(() => schemaOf(environment));
  } finally {
    environment.close();
  }
}

describe("a cache of schema 1", () => {
  it("is migrated when it is opened for writing, with all that is in it", () => {
    expect(faultsOf(directory, references)).toEqual([]);
    expect(schemaIn(directory)).toBe(schemaVersion);
    expect(faultsOf(directory, references)).toEqual([]);
    const reader = openReader({ directory });
    expect(reader.inspect("registry.example/plain:v1").pinned).toBe(true);
    reader.close();
  });

  it("is read as it is by a reader, but for what it does not have", () => {
    expect(readAll(directory)).toEqual(references);
    const environment = Environment.open({ directory, readOnly: true });
    expect(() => environment.tree("quarantine")).toThrow(
      expect.objectContaining({ code: "USAGE", hint: expect.stringContaining("for writing") }),
    );
    environment.close();
    expect(schemaIn(directory)).toBe(1);
    expect(readdirSync(directory).sort()).toEqual(["data.mdb", "lock.mdb"]);
  });

  it("is kept as a backup, which can be gone back to", () => {
    Store.open({ directory }).close();
    const backup = join(directory, "schema-1.backup");
    expect(schemaIn(backup)).toBe(1);
    expect(readAll(backup)).toEqual(references);
    copyFileSync(join(backup, "data.mdb"), join(directory, "data.mdb"));
    rmSync(join(directory, "lock.mdb"));
    expect(schemaIn(directory)).toBe(1);
    expect(faultsOf(directory, references)).toEqual([]);
    expect(readdirSync(directory).sort()).toEqual(["data.mdb", "lock.mdb", "open", "schema-1.backup"]);
  });

  it("can be read on by who had it open before", () => {
    const reader = openReader({ directory });
    Store.open({ directory }).close();
    expect(reader.list().map(({ reference }) => reference)).toEqual(references);
    reader.close();
  });

  it("is migrated once by many that open it at the same time", async () => {
    const all = await Promise.all(
      Array.from({ length: 4 }, () => run(process.execPath, [fixture("kill-at-step.js"), directory, "0"])),
    );
    for (const { status, stderr } of all) expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    expect(schemaIn(directory)).toBe(schemaVersion);
    expect(schemaIn(join(directory, "schema-1.backup"))).toBe(1);
    expect(faultsOf(directory, references)).toEqual([]);
  });

  it("has the old schema or the new one after a kill at any step", { timeout: 240_000 }, async () => {
    const complaints: string[] = [];
    const schemas = new Set<number | undefined>();
    await killAtEveryStep(parent, "open", putSchemaOne, (path, step) => {
      schemas.add(schemaIn(path));
      complaints.push(...faultsOf(path, references).map((fault) => `before step ${step}: ${fault}`));
      if (schemaIn(path) !== schemaVersion)
        complaints.push(`before step ${step}: it is not migrated by the next`);
      if (schemaIn(join(path, "schema-1.backup")) !== 1) complaints.push(`before step ${step}: no backup`);
    });
    expect(complaints).toEqual([]);
    expect([...schemas].sort()).toEqual([1, schemaVersion]);
  });
});

it("a process of an older schema does not write into a cache that has been migrated since", () => {
  const environment = Environment.open({ directory });
  const newer = Environment.open({ directory });
  newer.commit(() => newer.tree("meta").put(Buffer.from("schema"), Buffer.of(0, 0, 0, schemaVersion + 1)));
  newer.close();
  expect(() => environment.commit(() => environment.tree("refs").put(Buffer.of(1), Buffer.of(1)))).toThrow(
    expect.objectContaining({ code: "USAGE" }),
  );
  environment.close();
});
