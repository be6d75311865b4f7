import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Environment } from "../../src/store/environment.js";
import type { TreeName } from "../../src/store/trees.js";
import { checkClosure } from "../reliability/check-closure.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { json, lastLine, sampleImage, User } from "./command.js";

let user: User;
let registry: TestRegistry;
let reference: string;

beforeEach(async () => {
  user = new User();
  registry = await startTestRegistry();
  registry.add("org/prog:v1", sampleImage());
  reference = registry.reference("org/prog:v1");
  expect(await user.bpfcache(["pull", reference])).toMatchObject({ status: 0 });
});

afterEach(async () => {
  await registry[Symbol.asyncDispose]();
  user[Symbol.dispose]();
});

function damage(...trees: TreeName[]): void {
  const environment = Environment.open({ directory: user.cache });
  for (const name of trees) {
    for (const { key, value } of environment.tree(name).entries()) {
      value.writeUInt8(value.readUInt8(value.length - 1) ^ 1, value.length - 1);
      environment.commit(() => environment.tree(name).put(key, value));
    }
  }
  environment.close();
}

describe("bpfcache scrub", () => {
  it("says what it has checked and ends with 0 when all is sound", async () => {
    const { status, stdout } = await user.bpfcache(["scrub"]);
    expect(stdout).toMatch(/^\d+ rows, .* hashed in .* s: 0 damaged, 0 repaired\n$/);
    expect(status).toBe(0);
  });

  it("ends with 11 when damage remains, and prints the document either way", async () => {
    damage("layers");
    const { status, stdout, stderr } = await user.bpfcache(["scrub", "--json"]);
    expect(status).toBe(11);
    expect(json(stdout)).toMatchObject({
      damaged: [{ tree: "layers", references: [expect.stringContaining(reference)] }],
      repaired: [],
    });
    expect(lastLine(stderr).error?.code).toBe("CACHE_CORRUPT");
  });

  it("ends with 0 when all was repaired", async () => {
    damage("layers", "objects");
    const { status, stdout } = await user.bpfcache(["scrub", "--repair", "--json"]);
    expect(json(stdout)).toMatchObject({ damaged: [], repaired: [{ tree: "layers" }, { tree: "objects" }] });
    expect(status).toBe(0);
    expect(checkClosure(user.cache)).toEqual([]);
  });

  it("ends with 11 when something had to be given up", async () => {
    damage("layers");
    const { status, stdout } = await user.bpfcache(["scrub", "--repair", "--offline"]);
    expect(status).toBe(11);
    expect(stdout).toMatch(/^damaged layers sha256:.*removed, to be prefetched again/);
    expect(checkClosure(user.cache)).toEqual([]);
  });
});

describe("bpfcache list", () => {
  it("leaves out what is damaged, and says so on stderr", async () => {
    damage("images");
    const { status, stdout, stderr } = await user.bpfcache(["list", "--json"]);
    expect(json(stdout)).toEqual({ images: [] });
    expect(stderr).toContain("1 damaged image not listed");
    expect(stderr).toContain("scrub --repair");
    expect(status).toBe(0);
  });
});

describe("bpfcache cat", () => {
  it("repairs what is damaged and reads it again, with a warning", async () => {
    damage("objects");
    const { status, stdout, stderr } = await user.bpfcache(["cat", reference]);
    expect(status).toBe(0);
    expect(stdout.slice(1, 4)).toBe("ELF");
    expect(stderr).toContain("is damaged in the cache; it is taken in again");
    expect(checkClosure(user.cache)).toEqual([]);
  });

  it.each([["--offline"], ["--pull-policy", "Never"]])("is 11 with %s", async (...options) => {
    damage("objects");
    const { status, stdout } = await user.bpfcache(["cat", reference, ...options]);
    expect({ status, stdout }).toEqual({ status: 11, stdout: "" });
  });

  it("is 11 when it cannot be repaired", async () => {
    damage("objects", "layers");
    registry.remove("org/prog");
    const { status, stderr } = await user.bpfcache(["cat", reference]);
    expect(status).toBe(11);
    expect(stderr).toContain("could not be taken in again");
  });
});
