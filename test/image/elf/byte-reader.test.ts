import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { BpfcacheError } from "../../../src/core/errors.js";
import { ByteReader } from "../../../src/image/elf/byte-reader.js";

const invalid = expect.objectContaining({ code: "INVALID_IMAGE" });

describe("reading numbers", () => {
  const bytes = Buffer.from("0102030405060708ffffffffffffffff", "hex");

  test("follows the byte order", () => {
    const little = new ByteReader(bytes, "little", "bytes");
    const big = new ByteReader(bytes, "big", "bytes");
    expect([little.u8(0), little.u16(0), little.u32(0)]).toEqual([0x01, 0x0201, 0x04030201]);
    expect([big.u8(0), big.u16(0), big.u32(0)]).toEqual([0x01, 0x0102, 0x01020304]);
    expect(new ByteReader(Buffer.from("0000000000001000", "hex"), "big", "bytes").u64(0)).toBe(0x1000);
  });

  test("refuses a number that JavaScript would round", () => {
    expect(() => new ByteReader(bytes, "little", "bytes").u64(8)).toThrow(invalid);
  });

  test("works on a view into a larger buffer", () => {
    expect(new ByteReader(bytes.subarray(2, 4), "big", "bytes").u16(0)).toBe(0x0304);
  });
});

describe("reading names", () => {
  const reader = (text: string): ByteReader => new ByteReader(Buffer.from(text), "little", "names");

  test("ends at NUL", () => {
    expect(reader("\0pass\0größe\0").name(1)).toBe("pass");
    expect(reader("\0pass\0größe\0").name(6)).toBe("größe");
    expect(reader("\0").name(0)).toBe("");
  });

  test("refuses names without an end, with control characters, and longer than the kernel's", () => {
    expect(() => reader("pass").name(0)).toThrow(invalid);
    expect(() => reader("\x1b[31mred\0").name(0)).toThrow(invalid);
    expect(() => reader(`${"x".repeat(512)}\0`).name(0)).toThrow(invalid);
    expect(reader(`${"x".repeat(511)}\0`).name(0)).toHaveLength(511);
  });
});

test("whatever is read wherever, the only error is INVALID_IMAGE", () => {
  const offset = fc.oneof(fc.integer(), fc.nat(40), fc.double(), fc.constant(Number.MAX_SAFE_INTEGER));
  const bytes = fc.uint8Array({ maxLength: 40 });
  fc.assert(
    fc.property(bytes, offset, offset, (contents, at, length) => {
      const reader = new ByteReader(contents, "little", "bytes");
      const reads: (() => unknown)[] = [
        () => reader.u8(at),
        () => reader.u16(at),
        () => reader.u32(at),
        () => reader.u64(at),
        () => reader.name(at),
        () => reader.bytes(at, length),
        () => reader.window(at, length, "part").u8(0),
      ];
      for (const read of reads) {
        try {
          read();
        } catch (error) {
          expect(error).toBeInstanceOf(BpfcacheError);
        }
      }
    }),
    { numRuns: 2_000 },
  );
});
