import { cpSync, existsSync, readdirSync, statSync, unlinkSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { compact } from "../../src/store/compact.js";
import { Environment } from "../../src/store/environment.js";
import { claimReplacement, oldestLookMs } from "../../src/store/replacement.js";
import { Conversation, TemporaryDirectory } from "../reliability/processes.js";
import { faultsOf, killAtEveryStep, referenceOf, seedImages } from "./support.js";

const key = Buffer.from("key");

let parent: TemporaryDirectory;
let directory: string;

beforeEach(() => {
  parent = new TemporaryDirectory();
  directory = parent.join("cache");
});

afterEach(() => parent[Symbol.dispose]());

function open(readOnly = false): Environment {
  return Environment.open({ directory, readOnly });
}

/** Twenty values of 100 kB, of which two are left. */
function fillAndEmpty(environment: Environment): void {
  const keys = Array.from({ length: 20 }, (_, index) => Buffer.from([index]));
  environment.commit(() => {
    for (const each of keys) environment.tree("layers").put(each, Buffer.alloc(100_000, each[0]));
  });
  environment.commit(() => {
    for (const each of keys.slice(2)) environment.tree("layers").remove(each);
  });
}

function count(environment: Environment): number {
  return environment.snapshot(() => environment.tree("layers").keys().length);
}

describe("compact", () => {
  it("gives back what was freed, and says how much", async () => {
    const environment = open();
    fillAndEmpty(environment);
    const { size } = statSync(join(directory, "data.mdb"));
    const compaction = await compact(environment);
    expect(compaction.fileBytesBefore).toBe(size);
    expect(compaction.fileBytesAfter).toBe(statSync(join(directory, "data.mdb")).size);
    expect(compaction.bytesFreed).toBe(compaction.fileBytesBefore - compaction.fileBytesAfter);
    expect(compaction.fileBytesAfter).toBe(environment.liveBytes);
    expect(compaction.bytesFreed).toBeGreaterThan(1_500_000);
    expect(count(environment)).toBe(2);
    environment.close();
    expect(readdirSync(directory).sort()).toEqual(["data.mdb", "lock.mdb", "open"]);
  });

  it("keeps the rights of the files", async () => {
    const environment = open();
    await compact(environment);
    expect(statSync(join(directory, "data.mdb")).mode & 0o777).toBe(0o600);
    expect(statSync(join(directory, "lock.mdb")).mode & 0o777).toBe(0o600);
    environment.close();
  });

  it("is followed by every other environment, readers and writers, of this process", async () => {
    const [environment, reader, writer] = [open(), open(true), open()];
    fillAndEmpty(environment);
    await compact(environment);
    writer.commit(() => writer.tree("layers").put(key, key));
    environment.commit(() => environment.tree("refs").put(key, key));
    expect(count(reader)).toBe(3);
    expect(reader.snapshot(() => reader.tree("refs").has(key))).toBe(true);
    for (const each of [environment, reader, writer]) each.close();
    expect(() => open(true).close()).not.toThrow();
  });

  it("is followed in the middle of a snapshot by a commit in it", async () => {
    const [environment, writer] = [open(), open()];
    fillAndEmpty(environment);
    await compact(environment);
    const seen = writer.snapshot(() => {
      writer.commit(() => writer.tree("layers").put(key, key));
      return writer.tree("layers").keys().length;
    });
    expect(seen).toBe(3);
    environment.close();
    writer.close();
  });

  it("loses nothing that another process writes meanwhile, and readers of others go on", async () => {
    await seedImages(directory, parent.join("layout"), 3, 200_000);
    await using busy = new Conversation("busy-writer.js", [directory, parent.join("other")]);
    await seedOther();
    expect(await busy.next()).toEqual({ ready: true });
    await using reader = new Conversation("reader.js", [directory]);
    expect(await reader.next()).toEqual({ ready: true });
    const environment = open();
    for (let i = 0; i < 5; i++) {
      environment.commit(() => environment.tree("hosts").put(Buffer.of(i), Buffer.of(i)));
      await compact(environment);
      for (let index = 0; index < 3; index++) {
        const answer = await reader.ask<{ digest: string; found: string }>({ reference: referenceOf(index) });
        expect(answer.found).toBe(answer.digest);
      }
    }
    const { commits } = await busy.ask<{ commits: number }>({});
    expect(commits).toBeGreaterThan(0);
    expect(environment.snapshot(() => environment.tree("hosts").keys().length)).toBe(5);
    environment.close();
    await busy.end();
    expect(faultsOf(directory, [0, 1, 2].map(referenceOf)).filter((fault) => !/other/.test(fault))).toEqual(
      [],
    );

    async function seedOther(): Promise<void> {
      const { writeLayout, bytecodeImage } = await import("../support/image-builder.js");
      writeLayout(parent.join("other"), [{ name: "registry.example/other:v1", root: bytecodeImage() }]);
    }
  });

  it("leaves a whole cache when it is killed at any of its steps", { timeout: 240_000 }, async () => {
    const made = parent.join("made");
    await seedImages(made, parent.join("layout"), 4, 50_000);
    const environment = Environment.open({ directory: made });
    fillAndEmpty(environment);
    environment.commit(() => {
      for (const each of [0, 1]) environment.tree("layers").remove(Buffer.of(each));
    });
    environment.close();
    const references = [0, 1, 2, 3].map(referenceOf);
    const complaints: string[] = [];
    const steps = await killAtEveryStep(
      parent,
      "compact",
      (path) => cpSync(made, path, { recursive: true, filter: (each) => !each.endsWith("lock.mdb") }),
      (path, step) => {
        complaints.push(...faultsOf(path, references).map((fault) => `before step ${step}: ${fault}`));
        const left = readdirSync(path).filter((name) => !["data.mdb", "lock.mdb", "open"].includes(name));
        complaints.push(...left.map((name) => `before step ${step}: ${name} was left`));
      },
    );
    expect(complaints).toEqual([]);
    expect(steps).toBeGreaterThan(8);
  });
});

describe("while the files are being replaced", () => {
  it("a reader that has them open reads on, and a claim whose holder has died holds up nobody", () => {
    const environment = open();
    fillAndEmpty(environment);
    const reader = open(true);
    const claim = claimReplacement(directory, { kind: "compact" });
    expect(count(reader)).toBe(2);
    claim?.release();
    expect(existsSync(join(directory, "replacing"))).toBe(false);
    environment.close();
    reader.close();
  });

  it("only one process holds the claim", () => {
    open().close();
    const claim = claimReplacement(directory, { kind: "compact" });
    expect(claimReplacement(directory, { kind: "compact" })).toBeUndefined();
    claim?.release();
    claimReplacement(directory, { kind: "compact" })?.release();
  });
});

describe("one directory opened more than once in a process", () => {
  it("can be written after it was opened for reading", () => {
    open().close();
    const reader = open(true);
    const writer = open();
    writer.commit(() => writer.tree("layers").put(key, key));
    expect(count(reader)).toBe(1);
    writer.close();
    expect(count(reader)).toBe(1);
    reader.close();
  });

  it("goes on when its files were taken away: a writer makes new ones, a reader keeps what it has", async () => {
    const [writer, reader] = [open(), open(true)];
    writer.commit(() => writer.tree("layers").put(key, key));
    for (const name of ["data.mdb", "lock.mdb"]) unlinkSync(join(directory, name));
    expect(count(reader)).toBe(1);
    writer.commit(() => writer.tree("refs").put(key, key));
    expect(writer.snapshot(() => writer.tree("refs").has(key))).toBe(true);
    await sleep(oldestLookMs);
    expect(count(reader)).toBe(0);
    writer.close();
    reader.close();
  });
});
