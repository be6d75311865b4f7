import { generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import { mediaTypes } from "../../src/image/media-types.js";
import { artifact } from "./artifact-builder.js";
import type { Content, TestImage } from "./image-builder.js";

// Signatures as cosign makes them, made here: of any image, by any key, and wrong in any way.

export interface SigningKey {
  readonly privateKey: KeyObject;
  /** The public one, in PEM. */
  readonly pem: string;
}

export type KeyKind = "p256" | "p384" | "p521" | "rsa" | "ed25519";

export function signingKey(kind: KeyKind = "p256"): SigningKey {
  const { privateKey, publicKey } = pairOf(kind);
  return { privateKey, pem: publicKey.export({ type: "spki", format: "pem" }).toString() };
}

function pairOf(kind: KeyKind): { privateKey: KeyObject; publicKey: KeyObject } {
  if (kind === "rsa") return generateKeyPairSync("rsa", { modulusLength: 2048 });
  if (kind === "ed25519") return generateKeyPairSync("ed25519");
  const namedCurve = { p256: "prime256v1", p384: "secp384r1", p521: "secp521r1" }[kind];
  return generateKeyPairSync("ec", { namedCurve });
}

export function signed(bytes: Uint8Array, { privateKey }: SigningKey, hash = "sha256"): Buffer {
  return sign(privateKey.asymmetricKeyType === "ed25519" ? undefined : hash, bytes, privateKey);
}

export const simpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json";
export const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json";
const signatureAnnotation = "dev.cosignproject.cosign/signature";

/** What cosign signs of an image. */
export function payloadOf(digest: string, type = "cosign container image signature"): Buffer {
  const image = { "docker-manifest-digest": digest };
  const critical = { identity: { "docker-reference": "registry.example/org/prog" }, image, type };
  return Buffer.from(JSON.stringify({ critical, optional: null }));
}

export interface CosignLayer {
  readonly payload: Uint8Array;
  readonly annotations: Readonly<Record<string, string>>;
}

/** One signature, a layer of the document. */
export function cosignLayer(digest: string, key: SigningKey, hash?: string): CosignLayer {
  return layerOf(payloadOf(digest), key, hash);
}

export function layerOf(payload: Uint8Array, key: SigningKey, hash?: string): CosignLayer {
  const signature = signed(payload, key, hash).toString("base64");
  return { payload, annotations: { [signatureAnnotation]: signature } };
}

/** The document that cosign puts under the tag `sha256-….sig`, or, with a subject, makes a referrer. */
export function cosignDocument(layers: readonly CosignLayer[], subject?: Content): TestImage {
  const type =
    subject === undefined ? mediaTypes.ociConfig : "application/vnd.dev.cosign.artifact.sig.v1+json";
  return artifact({
    config: { mediaType: type, bytes: '{"architecture":"","os":"","rootfs":{}}' },
    layers: layers.map(({ payload }) => ({ mediaType: simpleSigning, bytes: payload })),
    ...(subject === undefined ? {} : { subject }),
    editManifest: (manifest) => ({
      ...manifest,
      layers: manifest.layers.map((layer, index) => ({ ...layer, annotations: layers[index]?.annotations })),
    }),
  });
}

export function cosignTag({ digest }: Content, repository = "org/prog"): string {
  return `${repository}:${digest.replace(":", "-")}.sig`;
}

export interface StatementOptions {
  readonly predicateType?: string;
  readonly payloadType?: string;
  readonly digests?: readonly Readonly<Record<string, string>>[];
}

const inToto = "application/vnd.in-toto+json";

/** The in-toto statement that a bundle's signature is over. */
export function statementOf(digest: string, options: StatementOptions = {}): Buffer {
  const { predicateType = "https://sigstore.dev/cosign/sign/v1" } = options;
  const { digests = [{ sha256: digest.replace("sha256:", "") }] } = options;
  const subject = digests.map((each) => ({ digest: each }));
  return Buffer.from(JSON.stringify({ _type: "https://in-toto.io/Statement/v1", subject, predicateType }));
}

export function preAuthEncoding(type: string, payload: Uint8Array): Buffer {
  return Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${payload.length} `), payload]);
}

/** A bundle with a signature by a plain key over a statement about the digest. */
export function keyBundle(
  digest: string,
  key: SigningKey,
  options: StatementOptions & { hash?: string } = {},
) {
  const { payloadType = inToto, hash } = options;
  const payload = statementOf(digest, options);
  const signature = signed(preAuthEncoding(payloadType, payload), key, hash);
  return {
    mediaType: bundleType,
    verificationMaterial: { publicKey: { hint: "a key" }, tlogEntries: [] },
    dsseEnvelope: {
      payload: payload.toString("base64"),
      payloadType,
      signatures: [{ sig: signature.toString("base64") }],
    },
  };
}

/** The document that carries bundles, as cosign attaches it. */
export function bundleDocument(
  bundles: readonly unknown[],
  subject: Content,
  mediaType = bundleType,
): TestImage {
  return artifact({
    artifactType: mediaType,
    layers: bundles.map((bundle) => ({ mediaType, bytes: JSON.stringify(bundle) })),
    subject,
  });
}

/** A policy with one rule, which asks for the keys. */
export function policyOf(scope: string, keys: readonly SigningKey[], more = ""): string {
  const written = keys.map(({ pem }) => JSON.stringify(pem)).join(", ");
  return `default = "reject"\n[[rule]]\nscope = ${JSON.stringify(scope)}\nkeys = [${written}]\n${more}\n`;
}
