import { expect, test } from "vitest";
import { describeElf, elfByteOrder, isBpfElf } from "../../../src/image/elf/identify.js";
import { buildElf } from "./elf-builder.js";

function head(plan: Parameters<typeof buildElf>[0]): Uint8Array {
  return buildElf(plan).subarray(0, 20);
}

test("twenty bytes tell an eBPF object, in both byte orders", () => {
  expect(isBpfElf(head({ byteOrder: "little" }))).toBe(true);
  expect(isBpfElf(head({ byteOrder: "big" }))).toBe(true);
  expect(isBpfElf(head({}).subarray(0, 19))).toBe(false);
});

test("the samples measured on published objects are eBPF", () => {
  expect(isBpfElf(Buffer.from("7f454c460201010000000000000000000100f700", "hex"))).toBe(true);
  expect(isBpfElf(Buffer.from("7f454c46020201000000000000000000000100f7", "hex"))).toBe(true);
});

test("other machines, types, classes and encodings are not eBPF objects", () => {
  const elf32 = Buffer.from(head({}));
  elf32.writeUInt8(1, 4);
  const noEncoding = Buffer.from(head({}));
  noEncoding.writeUInt8(0, 5);
  for (const other of [
    head({ machine: 62 }),
    head({ type: 2 }),
    elf32,
    noEncoding,
    Buffer.from("#!/bin/sh\n".repeat(3)),
  ]) {
    expect(isBpfElf(other)).toBe(false);
  }
});

test("an ELF file is described in words", () => {
  expect(describeElf(head({ machine: 62 }))).toBe("a 64-bit little-endian x86-64 object");
  expect(describeElf(head({ machine: 22, byteOrder: "big" }))).toBe("a 64-bit big-endian s390 object");
  expect(describeElf(head({ machine: 183, type: 2 }))).toBe("a 64-bit little-endian AArch64 executable");
  expect(describeElf(head({ machine: 999, type: 4 }))).toBe("a 64-bit little-endian machine-999 core dump");
  expect(describeElf(Buffer.from("\x7fELF"))).toBe("a malformed ELF file");
  expect(describeElf(Buffer.from("MZ"))).toBeUndefined();
  expect(describeElf(new Uint8Array())).toBeUndefined();
});

test("the byte order is the file's own", () => {
  expect(elfByteOrder(head({ byteOrder: "big" }))).toBe("big");
  expect(elfByteOrder(head({ byteOrder: "little" }))).toBe("little");
  expect(elfByteOrder(Buffer.from("no ELF file, and long enough"))).toBeUndefined();
});
