import { createHash, X509Certificate } from "node:crypto";
import { asRecord, type DocumentLayer, type SignatureDocument } from "./document.js";
import { loadSigstoreBundle } from "./packages.js";
import {
  type Certified,
  fromBase64,
  isSignedBy,
  parseJson,
  type Signature,
  type Subject,
  unusable,
} from "./signature.js";

/** What cosign signs: a JSON document that names the image (cosign, specs/SIGNATURE_SPEC.md). */
export const simpleSigningType = "application/vnd.dev.cosign.simplesigning.v1+json";

const payloadType = "cosign container image signature";

const annotation = {
  signature: "dev.cosignproject.cosign/signature",
  certificate: "dev.sigstore.cosign/certificate",
  logEntry: "dev.sigstore.cosign/bundle",
  timestamp: "dev.sigstore.cosign/rfc3161timestamp",
} as const;

/** The signatures of a document in cosign's own form: each layer is a payload, and its annotations have the signature. */
export function cosignSignatures({ layers }: SignatureDocument, subject: Subject): Signature[] {
  return layers
    .filter(({ mediaType }) => mediaType === simpleSigningType)
    .map((layer) => cosignSignature(layer, subject));
}

function cosignSignature({ annotations, bytes }: DocumentLayer, subject: Subject): Signature {
  const signature = fromBase64(annotations[annotation.signature]);
  if (signature === undefined) return unusable("the signature beside its payload is missing or no base64");
  return {
    objection: objectionTo(bytes, subject),
    isBy: (key) => isSignedBy(key, bytes, signature),
    certified: certifiedBy(annotations, bytes, signature),
  };
}

function objectionTo(payload: Uint8Array, { digest }: Subject): string | undefined {
  const { type, image } = asRecord(asRecord(parseJson(payload))["critical"]);
  const signed = asRecord(image)["docker-manifest-digest"];
  if (type !== payloadType) return "its payload is not that of a cosign signature";
  if (signed === digest) return undefined;
  return typeof signed === "string" ? `it is over ${signed.slice(0, 150)}` : "its payload names no digest";
}

/**
 * The certificate with the proof of when it was used, in the form of a bundle. Undefined without a certificate, or
 * with one that cannot be read.
 */
function certifiedBy(
  annotations: DocumentLayer["annotations"],
  payload: Uint8Array,
  signature: Buffer,
): Certified | undefined {
  const pem = annotations[annotation.certificate];
  if (typeof pem !== "string") return undefined;
  try {
    const { bundleFromJSON, BUNDLE_V01_MEDIA_TYPE } = loadSigstoreBundle();
    const bundle = bundleFromJSON({
      mediaType: BUNDLE_V01_MEDIA_TYPE,
      verificationMaterial: {
        x509CertificateChain: {
          certificates: [{ rawBytes: new X509Certificate(pem).raw.toString("base64") }],
        },
        tlogEntries: logEntries(annotations[annotation.logEntry]),
        timestampVerificationData: { rfc3161Timestamps: timestamps(annotations[annotation.timestamp]) },
      },
      messageSignature: {
        messageDigest: {
          algorithm: "SHA2_256",
          digest: createHash("sha256").update(payload).digest("base64"),
        },
        signature: signature.toString("base64"),
      },
    });
    return { bundle, artifact: Buffer.from(payload) };
  } catch {
    return undefined;
  }
}

/** cosign keeps what Rekor answered, the log's promise of inclusion, in a form of its own. */
function logEntries(text: unknown): unknown[] {
  if (typeof text !== "string") return [];
  const entry = asRecord(parseJson(text));
  const { body, integratedTime, logIndex, logID } = asRecord(entry["Payload"]);
  const { kind, apiVersion } = asRecord(parseJson(fromBase64(body) ?? ""));
  return [
    {
      logIndex: String(logIndex),
      logId: { keyId: Buffer.from(String(logID), "hex").toString("base64") },
      kindVersion: { kind, version: apiVersion },
      integratedTime: String(integratedTime),
      inclusionPromise: { signedEntryTimestamp: entry["SignedEntryTimestamp"] },
      canonicalizedBody: body,
    },
  ];
}

function timestamps(text: unknown): unknown[] {
  if (typeof text !== "string") return [];
  return [{ signedTimestamp: asRecord(parseJson(text))["SignedRFC3161Timestamp"] }];
}
