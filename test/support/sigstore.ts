import { createHash, generateKeyPairSync, type KeyObject, sign } from "node:crypto";
import {
  type CertificateOptions,
  certificate,
  der,
  type Extension,
  keyName,
  spki,
  toBeSigned,
} from "./der.js";
import {
  type CosignLayer,
  payloadOf,
  preAuthEncoding,
  type StatementOptions,
  statementOf,
} from "./signing.js";

// A private Sigstore: an authority that certifies identities, a log of its certificates, a log of signatures. What it
// publishes of itself is a trusted_root.json, as for a site of its own.

const oids = {
  basicConstraints: "2.5.29.19",
  keyUsage: "2.5.29.15",
  extendedKeyUsage: "2.5.29.37",
  codeSigning: "1.3.6.1.5.5.7.3.3",
  subjectKey: "2.5.29.14",
  authorityKey: "2.5.29.35",
  alternativeName: "2.5.29.17",
  issuer: "1.3.6.1.4.1.57264.1.1",
  issuerV2: "1.3.6.1.4.1.57264.1.8",
  timestamps: "1.3.6.1.4.1.11129.2.4.2",
} as const;

const day = 86_400_000;

export interface KeylessOptions extends StatementOptions {
  /** A URL or a mail address. */
  readonly identity?: string;
  /** Empty: the certificate does not say. */
  readonly issuer?: string;
  /** When the log says that it was signed, as against the ten minutes from now on that the certificate is valid for. */
  readonly integratedAt?: Date;
  /** Whose certificate it is. Default: this authority's. */
  readonly certifiedBy?: Sigstore;
  /** Whose log it is in. */
  readonly loggedBy?: Sigstore;
  readonly withoutSct?: boolean;
  readonly withoutLog?: boolean;
  /** What the log has an entry about instead. */
  readonly loggedPayload?: Uint8Array;
}

interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

function keyPair(): KeyPair {
  return generateKeyPairSync("ec", { namedCurve: "prime256v1" });
}

export class Sigstore {
  readonly #authority = keyPair();
  readonly #log = keyPair();
  readonly #certificateLog = keyPair();
  readonly #from = new Date(Date.now() - 30 * day);
  readonly #until = new Date(Date.now() + 30 * day);
  readonly #rootCertificate = certificate({
    subject: "an authority",
    issuer: "an authority",
    publicKey: this.#authority.publicKey,
    signer: this.#authority.privateKey,
    from: this.#from,
    until: this.#until,
    extensions: [
      { oid: oids.basicConstraints, isCritical: true, value: der.sequence(der.true) },
      { oid: oids.keyUsage, isCritical: true, value: der.bits(Buffer.of(0x06), 1) },
      { oid: oids.subjectKey, value: der.octets(keyName(this.#authority.publicKey)) },
    ],
  });

  /** The document trusted_root.json. */
  trustedRoot({ withoutCertificateLog = false } = {}): object {
    const validFor = { start: this.#from.toISOString() };
    const log = ({ publicKey }: KeyPair, baseUrl: string): object => ({
      baseUrl,
      hashAlgorithm: "SHA2_256",
      publicKey: {
        rawBytes: spki(publicKey).toString("base64"),
        keyDetails: "PKIX_ECDSA_P256_SHA_256",
        validFor,
      },
      logId: { keyId: logIdOf(publicKey).toString("base64") },
    });
    return {
      mediaType: "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
      tlogs: [log(this.#log, "https://log.example")],
      certificateAuthorities: [
        {
          subject: { organization: "example", commonName: "an authority" },
          uri: "https://authority.example",
          certChain: { certificates: [{ rawBytes: this.#rootCertificate.toString("base64") }] },
          validFor,
        },
      ],
      ctlogs: withoutCertificateLog ? [] : [log(this.#certificateLog, "https://certificates.example")],
      timestampAuthorities: [],
    };
  }

  /** A bundle of version 0.3 over a statement about the digest. */
  bundle(digest: string, options: KeylessOptions = {}) {
    const { payloadType = "application/vnd.in-toto+json" } = options;
    const payload = statementOf(digest, options);
    const { leaf, privateKey } = this.#issue(options);
    const signature = sign("sha256", preAuthEncoding(payloadType, payload), privateKey);
    const logged = options.loggedPayload ?? payload;
    const body = {
      apiVersion: "0.0.1",
      kind: "dsse",
      spec: {
        envelopeHash: { algorithm: "sha256", value: "0".repeat(64) },
        payloadHash: { algorithm: "sha256", value: sha256(logged).toString("hex") },
        signatures: [{ signature: signature.toString("base64"), verifier: base64(pemOf(leaf)) }],
      },
    };
    return {
      mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
      verificationMaterial: {
        certificate: { rawBytes: leaf.toString("base64") },
        tlogEntries: options.withoutLog === true ? [] : [this.#entry(body, options)],
      },
      dsseEnvelope: {
        payload: payload.toString("base64"),
        payloadType,
        signatures: [{ sig: signature.toString("base64") }],
      },
    };
  }

  /** The same in the form of the older versions, which carry a chain. */
  olderBundle(digest: string, version: "0.1" | "0.2", options: KeylessOptions = {}) {
    const bundle = this.bundle(digest, options);
    const { certificate: leaf, tlogEntries } = bundle.verificationMaterial;
    const x509CertificateChain = { certificates: [leaf] };
    return {
      ...bundle,
      mediaType: `application/vnd.dev.sigstore.bundle+json;version=${version}`,
      verificationMaterial: { x509CertificateChain, tlogEntries },
    };
  }

  /** A bundle of version 0.3 over bytes themselves. */
  messageBundle(bytes: Uint8Array, options: KeylessOptions = {}) {
    const { leaf, privateKey } = this.#issue(options);
    const signature = sign("sha256", bytes, privateKey);
    const body = recordOf(bytes, signature, leaf);
    return {
      mediaType: "application/vnd.dev.sigstore.bundle.v0.3+json",
      verificationMaterial: {
        certificate: { rawBytes: leaf.toString("base64") },
        tlogEntries: [this.#entry(body, options)],
      },
      messageSignature: {
        messageDigest: { algorithm: "SHA2_256", digest: sha256(bytes).toString("base64") },
        signature: signature.toString("base64"),
      },
    };
  }

  /** A signature in cosign's own form, with the certificate and the log's entry beside it. */
  cosignLayer(digest: string, options: KeylessOptions = {}): CosignLayer {
    const payload = payloadOf(digest);
    const { leaf, privateKey } = this.#issue(options);
    const signature = sign("sha256", payload, privateKey);
    const entry = this.#entry(recordOf(options.loggedPayload ?? payload, signature, leaf), options);
    const rekor = {
      SignedEntryTimestamp: entry.inclusionPromise.signedEntryTimestamp,
      Payload: {
        body: entry.canonicalizedBody,
        integratedTime: Number(entry.integratedTime),
        logIndex: Number(entry.logIndex),
        logID: Buffer.from(entry.logId.keyId, "base64").toString("hex"),
      },
    };
    return {
      payload,
      annotations: {
        "dev.cosignproject.cosign/signature": signature.toString("base64"),
        "dev.sigstore.cosign/certificate": pemOf(leaf),
        "dev.sigstore.cosign/chain": pemOf(this.#rootCertificate),
        ...(options.withoutLog === true ? {} : { "dev.sigstore.cosign/bundle": JSON.stringify(rekor) }),
      },
    };
  }

  /** A key, and a certificate that says whose it is. */
  #issue(options: KeylessOptions): { readonly leaf: Buffer; readonly privateKey: KeyObject } {
    const { identity = "dev@example.com", issuer = "https://issuer.example", certifiedBy = this } = options;
    const { privateKey, publicKey } = keyPair();
    const { privateKey: signer, publicKey: authority } = certifiedBy.#authority;
    const san = identity.includes("://")
      ? der.tagged(6, Buffer.from(identity))
      : der.tagged(1, Buffer.from(identity));
    const extensions: Extension[] = [
      { oid: oids.keyUsage, isCritical: true, value: der.bits(Buffer.of(0x80), 7) },
      { oid: oids.extendedKeyUsage, value: der.sequence(der.oid(oids.codeSigning)) },
      { oid: oids.subjectKey, value: der.octets(keyName(publicKey)) },
      { oid: oids.authorityKey, value: der.sequence(der.tagged(0, keyName(authority))) },
      ...(identity === "" ? [] : [{ oid: oids.alternativeName, isCritical: true, value: der.sequence(san) }]),
      ...(issuer === ""
        ? []
        : [
            { oid: oids.issuer, value: Buffer.from(issuer) },
            { oid: oids.issuerV2, value: der.utf8(issuer) },
          ]),
    ];
    const asked: CertificateOptions = {
      ...{ subject: "", issuer: "an authority", publicKey, signer, extensions },
      from: new Date(Date.now() - 60_000),
      until: new Date(Date.now() + 540_000),
    };
    if (options.withoutSct === true) return { leaf: certificate(asked), privateKey };
    const list = this.#certificateTimestamps(toBeSigned(asked), authority);
    const all = [...extensions, { oid: oids.timestamps, value: der.octets(list) }];
    return { leaf: certificate({ ...asked, extensions: all }), privateKey };
  }

  /** The log's promise to show the certificate to everybody (RFC 6962, sections 3.2 and 3.3). */
  #certificateTimestamps(precertificate: Uint8Array, authority: KeyObject): Buffer {
    const { privateKey, publicKey } = this.#certificateLog;
    const time = Buffer.alloc(8);
    time.writeBigUInt64BE(BigInt(Date.now() - 30_000));
    const entry = [Buffer.of(0, 1), sha256(spki(authority)), sized(3, precertificate)];
    const signed = Buffer.concat([Buffer.of(0, 0), time, ...entry, Buffer.of(0, 0)]);
    const signature = sized(2, sign("sha256", signed, privateKey));
    const sct = Buffer.concat([Buffer.of(0), logIdOf(publicKey), time, Buffer.of(0, 0, 4, 3), signature]);
    return sized(2, sized(2, sct));
  }

  /** As the log answers: with a promise of inclusion, and the proof of it in a tree with one leaf. */
  #entry(body: object, { integratedAt = new Date(), loggedBy = this }: KeylessOptions) {
    const { privateKey, publicKey } = loggedBy.#log;
    const canonicalizedBody = base64(JSON.stringify(body));
    const integratedTime = Math.floor(integratedAt.getTime() / 1_000);
    const logID = logIdOf(publicKey);
    const promised = { body: canonicalizedBody, integratedTime, logID: logID.toString("hex"), logIndex: 0 };
    const promise = sign("sha256", Buffer.from(JSON.stringify(promised)), privateKey);
    const leaf = sha256(Buffer.concat([Buffer.of(0), Buffer.from(canonicalizedBody, "base64")]));
    const note = `log.example\n1\n${leaf.toString("base64")}\n`;
    const hint = Buffer.concat([logID.subarray(0, 4), sign("sha256", Buffer.from(note), privateKey)]);
    return {
      logIndex: "0",
      logId: { keyId: logID.toString("base64") },
      kindVersion: { kind: (body as { kind: string }).kind, version: "0.0.1" },
      integratedTime: String(integratedTime),
      inclusionPromise: { signedEntryTimestamp: promise.toString("base64") },
      inclusionProof: {
        logIndex: "0",
        rootHash: leaf.toString("base64"),
        treeSize: "1",
        hashes: [],
        checkpoint: { envelope: `${note}\n— log.example ${hint.toString("base64")}\n` },
      },
      canonicalizedBody,
    };
  }
}

function recordOf(bytes: Uint8Array, signature: Buffer, leaf: Buffer): object {
  return {
    apiVersion: "0.0.1",
    kind: "hashedrekord",
    spec: {
      data: { hash: { algorithm: "sha256", value: sha256(bytes).toString("hex") } },
      signature: { content: signature.toString("base64"), publicKey: { content: base64(pemOf(leaf)) } },
    },
  };
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash("sha256").update(bytes).digest();
}

function logIdOf(key: KeyObject): Buffer {
  return sha256(spki(key));
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

function pemOf(bytes: Buffer): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
}

/** With its length in front, in so many bytes. */
function sized(width: number, bytes: Uint8Array): Buffer {
  const length = Buffer.alloc(width);
  length.writeUIntBE(bytes.length, 0, width);
  return Buffer.concat([length, bytes]);
}
