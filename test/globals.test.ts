import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BpfcacheError } from "../src/core/errors.js";
import { setGlobals } from "../src/image/elf/set-globals.js";
import { openCache } from "../src/open-cache.js";
import { openReader } from "../src/reader.js";
import { json, User } from "./cli/command.js";
import { objectWithGlobals } from "./image/elf/globals-sample.js";
import { bytecodeImage, writeLayout } from "./support/image-builder.js";

const reference = "registry.example/org/program:v1";
const platform = "linux/amd64";
const object = objectWithGlobals("little");
const values = { u32: 7, text: "eth0", mode: "MODE_DROP", ports: [80, 443, 8080] };
const changed = Buffer.from(setGlobals(object, values));

let user: User;

beforeAll(async () => {
  user = new User();
  const image = bytecodeImage({ objects: [{ path: "program.o", bytes: object }], labels: {} });
  writeLayout(user.path("layout"), [{ name: reference, root: image }]);
  await using cache = await openCache({ directory: user.cache, platform });
  const { failed } = await cache.seed([user.path("layout")]);
  expect(failed).toEqual([]);
});

afterAll(() => user[Symbol.dispose]());

function refusalOf(action: () => unknown): BpfcacheError {
  try {
    action();
  } catch (error) {
    if (error instanceof BpfcacheError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("bytecode with globals", () => {
  it("has the values, under the digest of the object as it is stored", () => {
    using reader = openReader({ directory: user.cache });
    const plain = reader.bytecode(reference, { platform });
    const { bytes, digest, size } = reader.bytecode(reference, { platform, globals: values });
    expect(Buffer.from(bytes)).toEqual(changed);
    expect({ digest, size }).toEqual({ digest: plain.digest, size: plain.size });
  });

  it("leaves the stored object as it is", () => {
    using reader = openReader({ directory: user.cache });
    reader.bytecode(reference, { platform, globals: values }).bytes.fill(0);
    expect(Buffer.from(reader.bytecode(reference, { platform }).bytes)).toEqual(object);
  });

  it("is the object itself when there are none", () => {
    using reader = openReader({ directory: user.cache });
    expect(Buffer.from(reader.bytecode(reference, { platform, globals: {} }).bytes)).toEqual(object);
  });

  it("is handed to withBytecode's callback", async () => {
    await using cache = await openCache({ directory: user.cache, platform });
    const seen = cache.withBytecode(reference, (view) => Buffer.from(view), { globals: values });
    expect(seen).toEqual(changed);
    expect(Buffer.from(cache.bytecode(reference, { globals: values }).bytes)).toEqual(changed);
  });

  it("is refused as USAGE, with the reference, for a name or a value that does not fit", () => {
    using reader = openReader({ directory: user.cache });
    for (const globals of [{ missing: 1 }, { u32: -1 }, { counter: 1 }]) {
      const error = refusalOf(() => reader.bytecode(reference, { platform, globals }));
      expect(error).toMatchObject({ code: "USAGE", reference });
      expect(refusalOf(() => reader.withBytecode(reference, () => 0, { platform, globals }))).toEqual(error);
    }
  });
});

describe("bpfcache cat --global", () => {
  const cat = (...args: string[]) => user.bpfcache(["cat", reference, "--platform", platform, ...args]);
  const globals = (...all: string[]): string[] => all.flatMap((value) => ["--global", value]);

  it("sets what it names in the file it writes", async () => {
    const file = user.path("changed.o");
    const all = globals("u32=7", "text=eth0", "mode=MODE_DROP", "ports=80,443,0x1f90");
    const { status, stdout, stderr } = await cat("-o", file, "--json", ...all);
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(readFileSync(file)).toEqual(changed);
    using reader = openReader({ directory: user.cache });
    expect(json(stdout).digest).toBe(reader.bytecode(reference, { platform }).digest);
  });

  it.each<[text: string, value: Parameters<typeof setGlobals>[1]]>([
    ["i8=-128", { i8: -128 }],
    ["u64=18446744073709551615", { u64: 2n ** 64n - 1n }],
    ["i64=-0x8000000000000000", { i64: -(2n ** 63n) }],
    ["flag=true", { flag: true }],
    ["flag=false", { flag: false }],
    ['text="a, b"', { text: "a, b" }],
    ['text="7"', { text: "7" }],
    ['text=""', { text: "" }],
    ["point=hex:0001020304050607", { point: Uint8Array.of(0, 1, 2, 3, 4, 5, 6, 7) }],
    ["grid=abc,x", { grid: ["abc", "x"] }],
  ])("%s", async (text, value) => {
    const file = user.path("one.o");
    const { status, stderr } = await cat("-o", file, ...globals(text));
    expect(stderr).toBe("");
    expect(status).toBe(0);
    expect(readFileSync(file)).toEqual(Buffer.from(setGlobals(object, value)));
  });

  it.each<[args: string[], message: RegExp]>([
    [["u32"], /takes NAME=VALUE, not "u32"/],
    [["=7"], /takes NAME=VALUE/],
    [["u32=1", "u32=2"], /sets u32 twice/],
    [["text="], /is not a value/],
    [["u32=1.5"], /"1\.5" is not a value/],
    [['text="open'], /is not a value/],
    [["point=hex:012"], /two hexadecimal digits/],
    [["u32=many"], /takes an integer/],
    [["missing=7"], /no global missing/],
  ])("%s is refused with status 2", async (all, message) => {
    const { status, stdout, stderr } = await cat(...globals(...all));
    expect(stderr).toMatch(message);
    expect(stdout).toBe("");
    expect(status).toBe(2);
  });
});
