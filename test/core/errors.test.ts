import { describe, expect, it } from "vitest";
import { BpfcacheError, exitStatus, throwIfAborted, toBpfcacheError } from "../../src/core/errors.js";

it("exit statuses are distinct and as documented", () => {
  expect(exitStatus).toEqual({
    INTERNAL: 1,
    USAGE: 2,
    NOT_FOUND: 3,
    NOT_CACHED: 4,
    UNAUTHORIZED: 5,
    UNREACHABLE: 6,
    DIGEST_MISMATCH: 7,
    UNTRUSTED: 8,
    INVALID_IMAGE: 9,
    PLATFORM_MISMATCH: 10,
    CACHE_CORRUPT: 11,
    CACHE_FULL: 12,
    CACHE_BUSY: 13,
    TOOL_FAILED: 14,
    PARTIAL: 20,
    INTERRUPTED: 130,
  });
});

describe("BpfcacheError", () => {
  it("is told its reference once", () => {
    const error = new BpfcacheError("NOT_FOUND", "no such image", { hint: "look", cause: 1 });
    const told = error.about("a/b:1");
    expect(told).toMatchObject({ code: "NOT_FOUND", reference: "a/b:1", hint: "look", cause: 1 });
    expect(told.about("other")).toBe(told);
  });

  it("takes aborts for interruptions and the unforeseen for bugs", () => {
    expect(toBpfcacheError(new DOMException("stop", "AbortError")).code).toBe("INTERRUPTED");
    expect(toBpfcacheError(new TypeError("oops")).code).toBe("INTERNAL");
    expect(toBpfcacheError("oops")).toMatchObject({ code: "INTERNAL", message: "oops" });
  });

  it("an aborted signal throws INTERRUPTED", () => {
    expect(() => throwIfAborted(undefined)).not.toThrow();
    expect(() => throwIfAborted(AbortSignal.abort())).toThrow(
      expect.objectContaining({ code: "INTERRUPTED" }),
    );
  });
});
