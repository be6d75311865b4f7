import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BpfcacheError } from "../../../src/core/errors.js";
import type { ByteOrder } from "../../../src/core/platform.js";
import type { GlobalValue } from "../../../src/image/btf/encode-value.js";
import { readBpfObject } from "../../../src/image/elf/bpf-object.js";
import { type GlobalValues, setGlobals } from "../../../src/image/elf/set-globals.js";
import { buildElf } from "./elf-builder.js";
import { objectWithGlobals } from "./globals-sample.js";

/** The bytes of a variable after it was set, in hexadecimal; all others must be as before. */
function set(byteOrder: ByteOrder, name: string, value: GlobalValue): string {
  const before = objectWithGlobals(byteOrder);
  const after = setGlobals(before, { [name]: value });
  expect(after.byteLength).toBe(before.byteLength);
  const variable = readBpfObject(before).globals.find((one) => one.name === name);
  const start = before.indexOf(Buffer.alloc(32, 0xee));
  const base = variable?.section === ".data.own" ? start + 32 * 20 : start;
  const from = base + (variable?.offset ?? 0);
  const to = from + (variable?.size ?? 0);
  expect(Buffer.from(after.subarray(0, from)).equals(before.subarray(0, from))).toBe(true);
  expect(Buffer.from(after.subarray(to)).equals(before.subarray(to))).toBe(true);
  return Buffer.from(after.subarray(from, to)).toString("hex");
}

function refusal(values: GlobalValues, bytes: Uint8Array = objectWithGlobals("little")): BpfcacheError {
  try {
    setGlobals(bytes, values);
  } catch (error) {
    if (error instanceof BpfcacheError) return error;
    throw error;
  }
  throw new Error("it was accepted");
}

describe("a value is written by its type, in the object's byte order", () => {
  test.each<[name: string, value: GlobalValue, little: string, big: string]>([
    ["i8", -128, "80", "80"],
    ["u8", 255, "ff", "ff"],
    ["u8", true, "01", "01"],
    ["i16", -2, "feff", "fffe"],
    ["u16", 0xabcd, "cdab", "abcd"],
    ["i32", -2_147_483_648, "00000080", "80000000"],
    ["u32", 0x01020304, "04030201", "01020304"],
    ["i64", -(2n ** 63n), "0000000000000080", "8000000000000000"],
    ["i64", -1, "ffffffffffffffff", "ffffffffffffffff"],
    ["u64", 2n ** 64n - 2n, "feffffffffffffff", "fffffffffffffffe"],
    ["i128", Buffer.alloc(16, 7), "07".repeat(16), "07".repeat(16)],
    ["flag", true, "01", "01"],
    ["flag", 0, "00", "00"],
    ["mode", 5, "05000000", "00000005"],
    ["mode", "MODE_DROP", "07000000", "00000007"],
    ["mode", "MODE_NONE", "ffffffff", "ffffffff"],
    ["mode", -1, "ffffffff", "ffffffff"],
    ["mode", 0xffff_ffff, "ffffffff", "ffffffff"],
    ["wide", "FAR", "efcdab8967452301", "0123456789abcdef"],
    ["pointer", 1, "0100000000000000", "0000000000000001"],
    ["text", "größe", "6772c3b6c39f6500", "6772c3b6c39f6500"],
    ["text", "", "0000000000000000", "0000000000000000"],
    ["text", [-1, 0, 1, 2, 3, 4, 5, 6], "ff00010203040506", "ff00010203040506"],
    ["text", Buffer.from("unended!"), "756e656e64656421", "756e656e64656421"],
    ["ports", [80, 443n, true], "50000000bb01000001000000", "00000050000001bb00000001"],
    ["grid", ["abc", [1, 2, 3, 4]], "6162630001020304", "6162630001020304"],
    ["point", Uint8Array.of(1, 2, 3, 4, 5, 6, 7, 8), "0102030405060708", "0102030405060708"],
    ["flexible", Buffer.alloc(12, 9), "09".repeat(12), "09".repeat(12)],
    ["untyped4", -1, "ffffffff", "ffffffff"],
    ["untyped4", 0x1020304, "04030201", "01020304"],
    ["untyped4", Uint8Array.of(1, 2, 3, 4), "01020304", "01020304"],
    ["untyped3", Uint8Array.of(1, 2, 3), "010203", "010203"],
  ])("%s = %s", (name, value, little, big) => {
    expect(set("little", name, value)).toBe(little);
    expect(set("big", name, value)).toBe(big);
  });

  test("any integer in range comes back, and no other is taken", () => {
    const ranges = { i8: [-128n, 127n], u16: [0n, 65_535n], i32: [-(2n ** 31n), 2n ** 31n - 1n] } as const;
    const name = fc.constantFrom<keyof typeof ranges>("i8", "u16", "i32");
    fc.assert(
      fc.property(name, fc.bigInt(-(2n ** 40n), 2n ** 40n), (variable, value) => {
        const [least, most] = ranges[variable];
        if (value < least || value > most) {
          expect(refusal({ [variable]: value }).code).toBe("USAGE");
          return;
        }
        const bits = BigInt(`0x${set("big", variable, value)}`);
        const size = { i8: 8, u16: 16, i32: 32 }[variable];
        expect(variable === "u16" ? bits : BigInt.asIntN(size, bits)).toBe(value);
      }),
    );
  });
});

test("several are set at once, and the object they were read from stays as it is", () => {
  const object = objectWithGlobals("little");
  const before = Buffer.from(object);
  const after = setGlobals(object, { u32: 1, text: "x", untyped4: 2 });
  expect(object.equals(before)).toBe(true);
  expect(Buffer.from(after).equals(before)).toBe(false);
  expect(Buffer.from(setGlobals(object, {})).equals(before)).toBe(true);
});

test("an object in the middle of a larger buffer is copied alone", () => {
  const object = objectWithGlobals("little");
  const surrounded = Buffer.concat([Buffer.alloc(13, 0xff), object, Buffer.alloc(13, 0xff)]);
  const after = setGlobals(surrounded.subarray(13, 13 + object.length), { u32: 1 });
  expect(Buffer.from(after)).toEqual(Buffer.from(setGlobals(object, { u32: 1 })));
  expect(surrounded.subarray(13, 13 + object.length).equals(object)).toBe(true);
});

describe("a value that does not fit is refused as USAGE, with the reason", () => {
  test.each<[name: string, value: GlobalValue, message: RegExp]>([
    ["i8", 128, /128 is out of range: char holds -128 to 127/],
    ["u8", -1, /unsigned char holds 0 to 255/],
    ["u32", 2 ** 32, /__u32 holds 0 to 4294967295/],
    ["u64", 2n ** 64n, /unsigned long holds 0 to 18446744073709551615/],
    ["i64", -(2n ** 63n) - 1n, /out of range/],
    ["u64", 2 ** 53, /beyond 2\^53 a bigint/],
    ["u32", 1.5, /takes an integer/],
    ["u32", Number.NaN, /takes an integer/],
    ["u32", "7", /takes an integer/],
    ["u32", [7], /takes an integer/],
    ["u32", Uint8Array.of(1, 2), /__u32 is 4 bytes, the value is 2/],
    ["i128", 1, /set as its 16 bytes only/],
    ["flag", 2, /_Bool holds 0 to 1/],
    ["mode", "MODE_LOST", /enum mode has no "MODE_LOST"; it has MODE_PASS, MODE_DROP, MODE_NONE/],
    ["mode", 2n ** 32n, /out of range/],
    ["text", "eight888", /char\[8\] holds 8 bytes, the text and its NUL are 9/],
    ["text", "a\0b", /NUL/],
    ["text", 7, /a value for each of its 8 elements/],
    ["ports", "text", /holds no text/],
    ["ports", [1, 2], /3 elements, and there are 2 values/],
    ["ports", [1, 2, 2 ** 32], /ports\[2\]/],
    ["ports", new Array<number>(3), /ports\[0\]/],
    ["grid", ["abc", "abcd"], /grid\[1\]/],
    ["point", 7, /struct point is set as its 8 bytes only/],
    ["untyped4", "text", /without BTF/],
    ["untyped4", 2 ** 32, /out of range/],
    ["untyped3", 7, /without BTF/],
    ["untyped3", Uint8Array.of(1), /is 3 bytes|of 3 bytes/],
    ["i32", null as unknown as GlobalValue, /takes an integer/],
  ])("%s = %s", (name, value, message) => {
    const { code, message: text } = refusal({ [name]: value });
    expect(text).toMatch(message);
    expect(code).toBe("USAGE");
  });
});

describe("what cannot be set is refused as USAGE", () => {
  test("a name that is not there, with those that are", () => {
    const { code, hint } = refusal({ limits: 7 });
    expect(code).toBe("USAGE");
    expect(hint).toMatch(/^It has: i8, u8, i16, .* and \d more\.$/);
  });

  test("a name that is not there, in an object without any", () => {
    expect(refusal({ limit: 7 }, buildElf()).hint).toMatch(/none/);
  });

  test.each([
    ["a variable of .bss", "counter", /lies in \.bss, which is not in the file/],
    ["kernel configuration", "CONFIG_HZ", /external \(\.kconfig/],
    ["a name that two static variables have", "twice", /several globals named twice, in \.rodata and \.data/],
    ["what is no global variable", "LICENSE", /no global LICENSE/],
    ["what every JavaScript object has", "constructor", /no global constructor/],
  ])("%s", (_, name, message) => {
    const error = refusal({ [name]: 7 });
    expect(error.message).toMatch(message);
    expect(error.code).toBe("USAGE");
  });

  test("a variable outside its section is INVALID_IMAGE", () => {
    const elf = buildElf({
      sections: [{ name: ".rodata", bytes: Buffer.alloc(8) }],
      symbols: [{ name: "x", section: ".rodata", offset: 4, size: 8 }],
    });
    expect(refusal({ x: 7 }, elf).code).toBe("INVALID_IMAGE");
  });

  test("something else than an object is INVALID_IMAGE", () => {
    expect(refusal({ x: 7 }, Buffer.from("text")).code).toBe("INVALID_IMAGE");
  });
});
