import { createHash, createPublicKey, type KeyObject } from "node:crypto";
import type { IdentityDocument } from "./policy-schema.js";

/** Somebody whose signature a rule asks for. */
export type Signer = KeySigner | IdentitySigner;

export interface KeySigner {
  readonly kind: "key";
  /** For messages: where the key came from, and the beginning of its fingerprint. */
  readonly name: string;
  readonly key: KeyObject;
  /** sha256 of the key (SPKI, DER), in hex. */
  readonly fingerprint: string;
}

export interface IdentitySigner {
  readonly kind: "identity";
  readonly name: string;
  readonly identity: TextMatch;
  readonly issuer: TextMatch;
}

/** A text, or an expression that the whole of a text must match. */
export interface TextMatch {
  readonly text: string;
  readonly isExpression: boolean;
  readonly matches: (found: string) => boolean;
}

/** A longer one is nobody's identity, and expressions may take long over it. */
const maxIdentityLength = 2_048;

const curves: ReadonlySet<string | undefined> = new Set(["prime256v1", "secp384r1", "secp521r1"]);
const minRsaBits = 2_048;

/** A public key in PEM. Throws an Error with the reason when it is none, or one that is too weak. */
export function keySigner(pem: string, source: string): KeySigner {
  const labels = [...pem.matchAll(/-----BEGIN ([A-Z0-9 ]+)-----/g)].map((match) => match[1] ?? "");
  const [label, ...more] = labels;
  if (label === undefined) throw new Error("it is not a public key in PEM");
  if (more.length > 0) throw new Error("it has more than one key; write each as an entry of its own");
  // Node would take the public half out of it, and the operator has given away the other.
  if (label.includes("PRIVATE")) throw new Error("it is a private key; only the public one belongs here");
  if (label === "CERTIFICATE") throw new Error("it is a certificate; a public key belongs here");
  const key = publicKey(pem);
  requireStrength(key);
  const fingerprint = createHash("sha256")
    .update(key.export({ type: "spki", format: "der" }))
    .digest("hex");
  return { kind: "key", name: `${source} (sha256:${fingerprint.slice(0, 12)})`, key, fingerprint };
}

function publicKey(pem: string): KeyObject {
  try {
    return createPublicKey(pem);
  } catch {
    throw new Error("it is not a public key that can be read");
  }
}

function requireStrength({ asymmetricKeyType: type, asymmetricKeyDetails: details }: KeyObject): void {
  if (type === "ed25519") return;
  if (type === "ec" && curves.has(details?.namedCurve)) return;
  if (type === "rsa" && (details?.modulusLength ?? 0) >= minRsaBits) return;
  if (type === "rsa") throw new Error(`an RSA key must have at least ${minRsaBits} bits`);
  throw new Error("it is none of ECDSA on P-256, P-384 or P-521, RSA, and Ed25519");
}

export function identitySigner(document: IdentityDocument): IdentitySigner {
  const identity = textMatch(document.certificate_identity, document.certificate_identity_regexp);
  const issuer = textMatch(document.certificate_oidc_issuer, document.certificate_oidc_issuer_regexp);
  return { kind: "identity", name: `${identity.text}, issued by ${issuer.text}`, identity, issuer };
}

/** What tells a signer from all others, whatever it is called: part of a policy's fingerprint. */
export function nameInFingerprint(signer: Signer): unknown {
  if (signer.kind === "key") return { key: signer.fingerprint };
  const written = ({ text, isExpression }: TextMatch): unknown => ({ text, isExpression });
  return { identity: written(signer.identity), issuer: written(signer.issuer) };
}

/** An expression is anchored at both ends, whether or not it says so. */
function textMatch(exact: string | undefined, expression: string | undefined): TextMatch {
  if (expression === undefined) {
    const text = exact ?? "";
    return { text, isExpression: false, matches: (found) => found === text };
  }
  const anchored = new RegExp(`^(?:${expression})$`, "u");
  return {
    text: expression,
    isExpression: true,
    matches: (found) => found.length <= maxIdentityLength && anchored.test(found),
  };
}
