import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  type Digest,
  DigestVerifier,
  digestOf,
  isDigest,
  parseDigest,
  verifyDigest,
} from "../../src/core/digest.js";

const bytes = Buffer.from("bytecode");

describe("parseDigest", () => {
  it("accepts sha256 and sha512", () => {
    const sha256 = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
    const sha512 = `sha512:${createHash("sha512").update(bytes).digest("hex")}`;
    expect(parseDigest(sha256)).toBe(digestOf(bytes));
    expect(parseDigest(sha512)).toBe(digestOf(bytes, "sha512"));
  });

  it.each([
    ["", 'no "sha256:"'],
    ["sha256:", "64 lower-case"],
    [`sha256:${"g".repeat(64)}`, "64 lower-case"],
    [`sha256:${"A".repeat(64)}`, "64 lower-case"],
    [`sha256:${"a".repeat(65)}`, "64 lower-case"],
    [`sha512:${"a".repeat(64)}`, "128 lower-case"],
    [`md5:${"a".repeat(32)}`, "unknown digest algorithm"],
    [`sha256:../../${"a".repeat(58)}`, "64 lower-case"],
    [`toString:${"a".repeat(64)}`, "unknown digest algorithm"],
  ])("refuses %j", (text, reason) => {
    expect(isDigest(text)).toBe(false);
    expect(() => parseDigest(text)).toThrow(reason);
  });
});

describe("DigestVerifier", () => {
  function run(chunks: readonly Uint8Array[], digest: Digest, size: number): void {
    const verifier = new DigestVerifier(digest, size, "the layer");
    for (const chunk of chunks) verifier.update(chunk);
    verifier.finish();
  }

  it("accepts the right bytes, however they are cut", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 20 }), (chunks) => {
        const whole = Buffer.concat(chunks);
        run(chunks, digestOf(whole), whole.length);
        run(chunks, digestOf(whole, "sha512"), whole.length);
      }),
    );
  });

  it("refuses a body that is cut short", () => {
    expect(() => run([bytes.subarray(1)], digestOf(bytes), bytes.length)).toThrow(
      /cut short.*8 bytes.*7 bytes/,
    );
  });

  it("refuses at the first byte too many, before the end", () => {
    const verifier = new DigestVerifier(digestOf(bytes), bytes.length, "the layer");
    verifier.update(bytes);
    expect(() => verifier.update(Buffer.of(0))).toThrow("too long");
  });

  it("refuses other bytes of the same length, and says both digests", () => {
    const other = Buffer.from("BYTECODE");
    expect(() => run([other], digestOf(bytes), other.length)).toThrow(
      expect.objectContaining({ code: "DIGEST_MISMATCH", expected: digestOf(bytes), found: digestOf(other) }),
    );
    expect(() => verifyDigest(other, digestOf(bytes), "it")).toThrow(
      expect.objectContaining({ code: "DIGEST_MISMATCH" }),
    );
  });
});
