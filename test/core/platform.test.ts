import { endianness } from "node:os";
import { describe, expect, it } from "vitest";
import {
  byteOrderOf,
  formatPlatform,
  hostPlatform,
  parsePlatform,
  platformFallbacks,
} from "../../src/core/platform.js";

describe("parsePlatform", () => {
  it.each([
    ["linux/amd64", "linux/amd64"],
    ["linux/x86_64", "linux/amd64"],
    ["linux/aarch64", "linux/arm64"],
    ["linux/arm64/v8", "linux/arm64"],
    ["linux/arm", "linux/arm/v7"],
    ["linux/arm/6", "linux/arm/v6"],
    ["linux/armhf", "linux/arm/v7"],
    ["linux/armel", "linux/arm/v6"],
    ["linux/amd64/v3", "linux/amd64/v3"],
    ["linux/amd64/v1", "linux/amd64"],
    ["Linux/S390X", "linux/s390x"],
    ["linux/i386", "linux/386"],
  ])("%s is %s", (text, normal) => {
    expect(formatPlatform(parsePlatform(text))).toBe(normal);
  });

  it.each(["", "linux", "linux/", "/amd64", "linux/amd64/v1/x", "linux/amd 64", "../amd64"])(
    "refuses %j",
    (text) => {
      expect(() => parsePlatform(text)).toThrow(expect.objectContaining({ code: "USAGE" }));
    },
  );
});

describe("platformFallbacks", () => {
  it.each([
    ["linux/amd64", ["linux/amd64"]],
    ["linux/amd64/v3", ["linux/amd64/v3", "linux/amd64/v2", "linux/amd64"]],
    ["linux/arm/v7", ["linux/arm/v7", "linux/arm/v6", "linux/arm/v5"]],
    ["linux/arm64", ["linux/arm64"]],
    ["linux/s390x", ["linux/s390x"]],
  ])("%s can use %j", (wanted, usable) => {
    expect(platformFallbacks(parsePlatform(wanted)).map(formatPlatform)).toEqual(usable);
  });
});

it.each([
  ["linux/amd64", "little"],
  ["linux/arm64", "little"],
  ["linux/ppc64le", "little"],
  ["linux/riscv64", "little"],
  ["linux/s390x", "big"],
  ["linux/ppc64", "big"],
  ["linux/mips", "big"],
  ["linux/mipsle", "little"],
])("%s is %s-endian", (platform, order) => {
  expect(byteOrderOf(parsePlatform(platform))).toBe(order);
});

it("the host's platform is linux in this process's byte order", () => {
  const host = hostPlatform();
  expect(host.os).toBe("linux");
  expect(byteOrderOf(host)).toBe(endianness() === "LE" ? "little" : "big");
});
