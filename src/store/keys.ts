import { createHash } from "node:crypto";
import { type Digest, type DigestAlgorithm, digestAlgorithm, digestHex, isDigest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";

// Keys are injective: a digest has a fixed length given by its first byte, and text is followed by a zero byte,
// which neither references nor platforms nor ELF symbol names can contain.

const algorithmByte: Readonly<Record<DigestAlgorithm, number>> = { sha256: 1, sha512: 2 };
const digestBytes: Readonly<Record<number, { algorithm: DigestAlgorithm; length: number }>> = {
  1: { algorithm: "sha256", length: 32 },
  2: { algorithm: "sha512", length: 64 },
};
const separator = Buffer.of(0);

/** LMDB's keys end at 1,978 bytes with 4 KiB pages; longer text is replaced by its hash, marked by a byte no text begins with. */
const maxTextBytes = 1_600;
const hashedText = Buffer.of(1);

export function digestKey(digest: Digest): Buffer {
  const hex = digestHex(digest);
  const key = Buffer.allocUnsafe(1 + hex.length / 2);
  key[0] = algorithmByte[digestAlgorithm(digest)];
  key.write(hex, 1, "hex");
  return key;
}

/** The digest that `key` begins with at `offset`, and where it ends. */
export function readDigestKey(key: Buffer, offset = 0): { digest: Digest; end: number } {
  const form = digestBytes[key[offset] ?? 0];
  const end = offset + 1 + (form?.length ?? 0);
  const digest = `${form?.algorithm}:${key.subarray(offset + 1, end).toString("hex")}`;
  if (!isDigest(digest)) throw new BpfcacheError("CACHE_CORRUPT", "a key of the database is malformed");
  return { digest, end };
}

function textKey(text: string): Buffer {
  const bytes = Buffer.from(text);
  if (bytes.length <= maxTextBytes) return bytes;
  return Buffer.concat([hashedText, Buffer.from(createHash("sha256").update(bytes).digest("hex"))]);
}

/** All platforms of a reference. */
export function referencePrefix(reference: string): Buffer {
  return Buffer.concat([textKey(reference), separator]);
}

export function referenceKey(reference: string, platform: string): Buffer {
  return Buffer.concat([referencePrefix(reference), Buffer.from(platform)]);
}

/** The reference is undefined when only its hash is in the key. */
export function readReferenceKey(key: Buffer): { reference: string | undefined; platform: string } {
  const end = key.indexOf(0);
  const reference = key[0] === hashedText[0] ? undefined : key.toString("utf8", 0, end);
  return { reference, platform: key.toString("utf8", end + 1) };
}

export function rootKey(root: Digest, platform: string): Buffer {
  return Buffer.concat([digestKey(root), Buffer.from(platform)]);
}

/**
 * What a manifest's holder begins with when it is the subject of that manifest. Its other holders are reference keys,
 * and no reference, spelled out or hashed, begins with a zero byte.
 */
export const subjectMark: Buffer = Buffer.of(0);

export function subjectHolder(subject: Digest): Buffer {
  return Buffer.concat([subjectMark, digestKey(subject)]);
}

/** The subject that a manifest's holder is, or undefined when the holder is a reference. */
export function subjectOfHolder(holder: Buffer): Digest | undefined {
  return holder[0] === subjectMark[0] ? readDigestKey(holder, 1).digest : undefined;
}

/** The artifact type is followed by a zero byte, which no media type contains. */
export function referrerKey(subject: Digest, artifactType: string, referrer: Digest): Buffer {
  return Buffer.concat([digestKey(subject), Buffer.from(artifactType), separator, digestKey(referrer)]);
}

/** The rule's scope comes last, behind parts of fixed lengths. */
export function verdictKey(root: Digest, policy: string, rule: string): Buffer {
  return Buffer.concat([digestKey(root), Buffer.from(policy, "hex"), Buffer.from(rule)]);
}

export function namePrefix(name: string): Buffer {
  return Buffer.concat([textKey(name), separator]);
}

/** The object of a row in byProgram or byMap; undefined when the key is malformed. */
export function objectOfName(key: Buffer): Digest | undefined {
  try {
    return readDigestKey(key, key.indexOf(0) + 1).digest;
  } catch {
    return undefined;
  }
}

export function nameKey(name: string, object: Digest): Buffer {
  return Buffer.concat([namePrefix(name), digestKey(object)]);
}
