import { createHash } from "node:crypto";
import type { Bundle } from "@sigstore/bundle";
import { digestAlgorithm, digestHex } from "../core/digest.js";
import { asRecord, type DocumentLayer, type SignatureDocument } from "./document.js";
import { loadSigstoreBundle } from "./packages.js";
import { isSignedBy, parseJson, type Signature, type Subject, unusable } from "./signature.js";

const bundleType = /^application\/vnd\.dev\.sigstore\.bundle\b/;

/** in-toto's type of payload, and the kind of statement that cosign signs images with; others say something else. */
const statementType = "application/vnd.in-toto+json";
const signPredicate = "https://sigstore.dev/cosign/sign/v1";

const hashNames: Readonly<Record<number, string>> = { 1: "sha256", 2: "sha384", 3: "sha512" };

/** The signatures of a document in Sigstore's form: each layer is a bundle, of version 0.1, 0.2 or 0.3. */
export function bundleSignatures({ layers }: SignatureDocument, subject: Subject): Signature[] {
  return layers
    .filter(({ mediaType }) => bundleType.test(mediaType))
    .map((layer) => bundleSignature(layer, subject));
}

function bundleSignature({ bytes }: DocumentLayer, subject: Subject): Signature {
  const bundle = parseBundle(bytes);
  if (bundle === undefined) return unusable("it is not a sigstore bundle of version 0.1 to 0.3");
  return bundle.content.$case === "dsseEnvelope"
    ? statementSignature(bundle, bundle.content.dsseEnvelope, subject)
    : messageSignature(bundle, bundle.content.messageSignature, subject);
}

function parseBundle(bytes: Uint8Array): Bundle | undefined {
  try {
    return loadSigstoreBundle().bundleFromJSON(parseJson(bytes));
  } catch {
    return undefined;
  }
}

type Content = Bundle["content"];
type Envelope = Extract<Content, { $case: "dsseEnvelope" }>["dsseEnvelope"];
type Message = Extract<Content, { $case: "messageSignature" }>["messageSignature"];

/** Over an in-toto statement, which names what it is about. */
function statementSignature(bundle: Bundle, envelope: Envelope, subject: Subject): Signature {
  const { payload, payloadType, signatures } = envelope;
  const signature = signatures[0]?.sig ?? Buffer.alloc(0);
  const signed = preAuthEncoding(payloadType, payload);
  return {
    objection: objectionTo(envelope, subject),
    isBy: (key) => isSignedBy(key, signed, signature),
    certified: isCertified(bundle) ? { bundle, artifact: undefined } : undefined,
  };
}

function objectionTo({ payload, payloadType }: Envelope, { digest }: Subject): string | undefined {
  if (payloadType !== statementType) return "what it signs is not an in-toto statement";
  const statement = asRecord(parseJson(payload));
  const { predicateType, subject } = statement;
  if (predicateType !== signPredicate) {
    const type = typeof predicateType === "string" ? predicateType.slice(0, 150) : "unknown";
    return `it is an attestation of the type ${type}, not a signature`;
  }
  const digests = (Array.isArray(subject) ? subject : []).map((each) => asRecord(asRecord(each)["digest"]));
  if (digests.some((each) => each[digestAlgorithm(digest)] === digestHex(digest))) return undefined;
  const found = digests.map((each) => each["sha256"]).find((hex) => typeof hex === "string");
  return found === undefined ? "it names no digest" : `it is over sha256:${found.slice(0, 64)}`;
}

/** Over the bytes of the root itself. */
function messageSignature(bundle: Bundle, message: Message, subject: Subject): Signature {
  const bytes = subject.bytes();
  const hash = hashNames[message.messageDigest.algorithm];
  const isOverIt =
    bytes !== undefined &&
    hash !== undefined &&
    createHash(hash).update(bytes).digest().equals(message.messageDigest.digest);
  return {
    objection: isOverIt ? undefined : "it is over other bytes than the root's",
    isBy: (key) => bytes !== undefined && isSignedBy(key, bytes, message.signature),
    certified:
      isCertified(bundle) && bytes !== undefined ? { bundle, artifact: Buffer.from(bytes) } : undefined,
  };
}

function isCertified({ verificationMaterial }: Bundle): boolean {
  return verificationMaterial.content.$case !== "publicKey";
}

/** What is signed in the place of a payload (DSSE, protocol.md). */
function preAuthEncoding(type: string, payload: Uint8Array): Buffer {
  const head = `DSSEv1 ${Buffer.byteLength(type)} ${type} ${payload.length} `;
  return Buffer.concat([Buffer.from(head), payload]);
}
