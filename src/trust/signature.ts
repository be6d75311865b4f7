import { type KeyObject, verify } from "node:crypto";
import type { Bundle } from "@sigstore/bundle";
import type { Digest } from "../core/digest.js";

/** What is to be signed: an image's root, by its digest, and its bytes where they are at hand. */
export interface Subject {
  readonly digest: Digest;
  readonly bytes: () => Uint8Array | undefined;
}

/** One signature, before it is known whose it is. */
export interface Signature {
  /** Why it does not sign the subject, whoever made it: it is over something else, or malformed. */
  readonly objection: string | undefined;
  /** Whether this key made it. */
  readonly isBy: (key: KeyObject) => boolean;
  /** With a certificate: what Sigstore's verifier needs to tell whose it is. */
  readonly certified: Certified | undefined;
}

export interface Certified {
  readonly bundle: Bundle;
  /** What was signed, where the bundle does not hold it itself. */
  readonly artifact: Buffer | undefined;
}

/** One that is no use to anybody. */
export function unusable(objection: string): Signature {
  return { objection, isBy: () => false, certified: undefined };
}

/** cosign hashes with SHA-256 whatever the curve is; Sigstore's bundles with the one that goes with the curve. */
const hashesOfCurve: Readonly<Record<string, readonly string[]>> = {
  prime256v1: ["sha256"],
  secp384r1: ["sha256", "sha384"],
  secp521r1: ["sha256", "sha512"],
};

/** Whether the key made a signature over the bytes: ECDSA in DER, RSA in PKCS #1 v1.5 with SHA-256, or Ed25519. */
export function isSignedBy(key: KeyObject, bytes: Uint8Array, signature: Uint8Array): boolean {
  const { asymmetricKeyType: type, asymmetricKeyDetails: details } = key;
  const ofCurve = hashesOfCurve[details?.namedCurve ?? ""] ?? [];
  const hashes = type === "ed25519" ? [undefined] : type === "rsa" ? ["sha256"] : ofCurve;
  return hashes.some((hash) => {
    try {
      return verify(hash, bytes, key, signature);
    } catch {
      // OpenSSL throws at some malformed signatures and says false to others.
      return false;
    }
  });
}

/** Strictly: Node passes over what is no base64, other readers refuse it, and all should see the same bytes. */
export function fromBase64(text: unknown): Buffer | undefined {
  if (typeof text !== "string" || text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text))
    return undefined;
  return Buffer.from(text, "base64");
}

export function parseJson(bytes: Uint8Array | string): unknown {
  try {
    return JSON.parse(typeof bytes === "string" ? bytes : Buffer.from(bytes).toString("utf8"));
  } catch {
    return undefined;
  }
}
