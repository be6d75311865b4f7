import { beforeEach, describe, expect, it } from "vitest";
import { WriteMeter } from "../../src/store/write-meter.js";

const mebibyte = 1024 * 1024;
const full = expect.objectContaining({ code: "CACHE_FULL" });

let meter: WriteMeter;

beforeEach(() => {
  meter = new WriteMeter("/cache");
});

/** A transaction that writes so much. */
function write(bytes: number, room: number | undefined): void {
  meter.begin(room);
  meter.add(bytes);
}

describe("a transaction", () => {
  it("is refused what there is no room for, and the pages that it changes take some", () => {
    expect(() => write(mebibyte, mebibyte)).toThrow(full);
    write(mebibyte, 2 * mebibyte);
    expect(() => meter.add(mebibyte)).toThrow(full);
    write(100 * mebibyte, undefined);
  });

  it("that failed though there seemed to be room is not tried again, nor is one half as large, until there is more", () => {
    write(2 * mebibyte, 4 * mebibyte);
    meter.fail();
    expect(() => write(2 * mebibyte, 4 * mebibyte)).toThrow(full);
    expect(() => write(1.2 * mebibyte, 3 * mebibyte)).toThrow(full);
    write(0.5 * mebibyte, 4 * mebibyte);
    write(2 * mebibyte, 4.2 * mebibyte);
    write(2 * mebibyte, 4 * mebibyte);
  });

  it("that fails again lowers what is tried further", () => {
    for (const bytes of [2 * mebibyte, 0.8 * mebibyte]) {
      write(bytes, 4 * mebibyte);
      meter.fail();
    }
    expect(() => write(0.6 * mebibyte, 4 * mebibyte)).toThrow(full);
    write(0.2 * mebibyte, 4 * mebibyte);
  });

  it("that only removes is tried after any failure, while there is room for the pages that it changes", () => {
    for (const bytes of [20 * 1024, 0]) {
      write(bytes, 4 * mebibyte);
      meter.fail();
    }
    write(1_000, 4 * mebibyte);
    expect(() => write(20 * 1024, 4 * mebibyte)).toThrow(full);
    expect(() => write(0, 90 * 1024)).toThrow(full);
  });

  it("is judged anew when there is plenty", () => {
    write(2 * mebibyte, 4 * mebibyte);
    meter.fail();
    write(2 * mebibyte, undefined);
    write(2 * mebibyte, 4 * mebibyte);
  });
});
