import { createHash, type Hash } from "node:crypto";
import { BpfcacheError } from "./errors.js";

/** The registered algorithms of the OCI image specification (descriptor.md, "Registered algorithms"), with their hex lengths. */
const hexLength = { sha256: 64, sha512: 128 } as const;

function hexLengthOf(algorithm: string): number | undefined {
  return Object.hasOwn(hexLength, algorithm) ? hexLength[algorithm as DigestAlgorithm] : undefined;
}

export type DigestAlgorithm = keyof typeof hexLength;

/** `algorithm:hex` in lower case. Made only by `parseDigest`, `isDigest` and `digestOf`. */
export type Digest = `${DigestAlgorithm}:${string}` & { readonly __digest: never };

export function isDigest(text: string): text is Digest {
  const colon = text.indexOf(":");
  const length = hexLengthOf(text.slice(0, colon));
  return (
    length !== undefined && text.length === colon + 1 + length && /^[0-9a-f]+$/.test(text.slice(colon + 1))
  );
}

/** Parses `sha256:<64 hex>` or `sha512:<128 hex>`. Throws USAGE, saying what is wrong with the text. */
export function parseDigest(text: string): Digest {
  if (isDigest(text)) return text;
  const [algorithm = "", hex] = text.split(":", 2);
  const quoted = JSON.stringify(text.slice(0, 150));
  if (hex === undefined)
    throw new BpfcacheError("USAGE", `${quoted} is not a digest: it has no "sha256:" in front`);
  const length = hexLengthOf(algorithm);
  if (length === undefined) {
    throw new BpfcacheError(
      "USAGE",
      `${quoted} has an unknown digest algorithm: sha256 and sha512 are supported`,
    );
  }
  throw new BpfcacheError(
    "USAGE",
    `${quoted} is not a ${algorithm} digest: it needs ${length} lower-case hex digits`,
  );
}

export function digestAlgorithm(digest: Digest): DigestAlgorithm {
  return digest.slice(0, digest.indexOf(":")) as DigestAlgorithm;
}

export function digestHex(digest: Digest): string {
  return digest.slice(digest.indexOf(":") + 1);
}

export function digestOf(bytes: Uint8Array, algorithm: DigestAlgorithm = "sha256"): Digest {
  return `${algorithm}:${createHash(algorithm).update(bytes).digest("hex")}` as Digest;
}

/** Throws DIGEST_MISMATCH unless `bytes` hash to `expected`; `what` names them in the message. */
export function verifyDigest(bytes: Uint8Array, expected: Digest, what: string): void {
  const found = digestOf(bytes, digestAlgorithm(expected));
  if (found !== expected) throw digestMismatch(what, expected, found);
}

function digestMismatch(what: string, expected: string, found: string): BpfcacheError {
  return new BpfcacheError("DIGEST_MISMATCH", `${what}: expected ${expected}, found ${found}`, {
    expected,
    found,
  });
}

/**
 * Checks bytes as they flow against a size and a digest. A body longer than promised is refused at the first
 * byte too many, so a lying server cannot make us hash or keep more than it announced.
 */
export class DigestVerifier {
  readonly #hash: Hash;
  #bytes = 0;

  constructor(
    readonly digest: Digest,
    readonly size: number,
    readonly what: string,
  ) {
    this.#hash = createHash(digestAlgorithm(digest));
  }

  /** Throws DIGEST_MISMATCH when more than `size` bytes have come. */
  update(chunk: Uint8Array): void {
    this.#bytes += chunk.byteLength;
    if (this.#bytes > this.size) {
      throw digestMismatch(`${this.what}: too long`, `${this.size} bytes`, `${this.#bytes} bytes or more`);
    }
    this.#hash.update(chunk);
  }

  /** Throws DIGEST_MISMATCH unless exactly `size` bytes came and they hash to `digest`. Call it once. */
  finish(): void {
    if (this.#bytes !== this.size) {
      throw digestMismatch(`${this.what}: cut short`, `${this.size} bytes`, `${this.#bytes} bytes`);
    }
    const found = `${digestAlgorithm(this.digest)}:${this.#hash.digest("hex")}`;
    if (found !== this.digest) throw digestMismatch(this.what, this.digest, found);
  }
}
