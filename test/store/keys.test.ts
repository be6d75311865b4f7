import fc from "fast-check";
import { expect, it } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import {
  digestKey,
  nameKey,
  namePrefix,
  readDigestKey,
  referenceKey,
  referencePrefix,
  referrerKey,
  subjectHolder,
  subjectOfHolder,
} from "../../src/store/keys.js";

const text = fc.string({ minLength: 1, maxLength: 40 }).filter((value) => !value.includes("\0"));
const digest = fc
  .uint8Array({ maxLength: 8 })
  .chain((bytes) => fc.constantFrom(digestOf(bytes), digestOf(bytes, "sha512")));

it("keys are injective: different parts never give the same key", () => {
  const parts = fc.tuple(text, text);
  fc.assert(
    fc.property(parts, parts, (a, b) => {
      expect(referenceKey(...a).equals(referenceKey(...b))).toBe(a[0] === b[0] && a[1] === b[1]);
    }),
  );
  fc.assert(
    fc.property(text, digest, text, digest, (name, object, otherName, otherObject) => {
      const isSame = name === otherName && object === otherObject;
      expect(nameKey(name, object).equals(nameKey(otherName, otherObject))).toBe(isSame);
    }),
  );
});

it("no reference's key begins with another reference's prefix", () => {
  fc.assert(
    fc.property(text, text, text, (a, b, platform) => {
      fc.pre(a !== b);
      expect(referenceKey(a, platform).indexOf(referencePrefix(b)) === 0).toBe(false);
    }),
  );
});

it("a subject as the holder of a manifest is never taken for a reference, however long that is", () => {
  fc.assert(
    fc.property(
      digest,
      fc.oneof(text, fc.constant("a".repeat(5_000))),
      text,
      (subject, reference, platform) => {
        expect(subjectOfHolder(subjectHolder(subject))).toBe(subject);
        expect(subjectOfHolder(referenceKey(reference, platform))).toBeUndefined();
      },
    ),
  );
});

it("keys of referrers are injective", () => {
  const parts = fc.tuple(digest, text, digest);
  fc.assert(
    fc.property(parts, parts, (a, b) => {
      const isSame = a.every((part, index) => part === b[index]);
      expect(referrerKey(...a).equals(referrerKey(...b))).toBe(isSame);
    }),
  );
});

it("a digest survives being a key", () => {
  fc.assert(
    fc.property(digest, text, (object, name) => {
      expect(readDigestKey(digestKey(object)).digest).toBe(object);
      expect(readDigestKey(nameKey(name, object), namePrefix(name).length).digest).toBe(object);
    }),
  );
});

it("keys of the longest references and names fit LMDB", () => {
  const long = "a".repeat(5_000);
  expect(referenceKey(long, "linux/amd64").length).toBeLessThan(1_700);
  expect(nameKey(long, digestOf(Buffer.of(1), "sha512")).length).toBeLessThan(1_700);
  expect(referenceKey(long, "p").equals(referenceKey(`${long}b`, "p"))).toBe(false);
});
