import { type Digest, isDigest } from "../../core/digest.js";
import { BpfcacheError } from "../../core/errors.js";
import type { Descriptor } from "../descriptor.js";
import type { ImageIndex, ImageManifest } from "../manifest.js";
import { mediaTypes } from "../media-types.js";
import type { ExtractedImage, ImageContent, ImageFormat, ImageLayer } from "./format.js";

/** What a document is that says something about an image. */
export interface Statement {
  /** With its article, as a sentence needs it. */
  readonly role: "a signature" | "an attestation" | "an SBOM";
  /** Whose, or in what form. */
  readonly form: string;
  /** What people call it. */
  readonly name: string;
}

const signature = (form: string, name: string): Statement => ({ role: "a signature", form, name });
const attestation = (form: string, name: string): Statement => ({ role: "an attestation", form, name });
const sbom = (form: string, name: string): Statement => ({ role: "an SBOM", form, name });

/** By the media type of the artifact, of the config or of all layers; sigstore's bundles carry a version in theirs. */
const statements: ReadonlyMap<string, Statement> = new Map([
  ["application/vnd.dev.cosign.simplesigning.v1+json", signature("cosign's", "cosign signature")],
  ["application/vnd.dev.cosign.artifact.sig.v1+json", signature("cosign's", "cosign signature")],
  ["application/vnd.cncf.notary.signature", signature("notation's", "notation signature")],
  ["application/vnd.in-toto+json", attestation("in-toto", "in-toto attestation")],
  ["application/vnd.dsse.envelope.v1+json", attestation("in-toto in a DSSE envelope", "in-toto attestation")],
  ["application/vnd.dev.cosign.attestation.v1+json", attestation("cosign's", "cosign attestation")],
  ["application/vnd.dev.cosign.artifact.sbom.v1+json", sbom("cosign's", "cosign SBOM")],
  ["application/spdx+json", sbom("SPDX", "SPDX SBOM")],
  ["text/spdx+json", sbom("SPDX", "SPDX SBOM")],
  ["text/spdx", sbom("SPDX", "SPDX SBOM")],
  ["application/vnd.cyclonedx+json", sbom("CycloneDX", "CycloneDX SBOM")],
  ["application/vnd.syft+json", sbom("syft's", "Syft SBOM")],
]);

const bundleType = /^application\/vnd\.dev\.sigstore\.bundle\b/;

const bundle = signature("a sigstore bundle", "sigstore bundle");

function statementOfType(mediaType: string): Statement | undefined {
  return bundleType.test(mediaType) ? bundle : statements.get(mediaType);
}

/**
 * What a manifest states of an image, or undefined when it is none of these. An image can have a layer of such a type
 * beside others, a statement has nothing else.
 */
export function statementOf({ artifactType, config, layers }: ImageManifest): Statement | undefined {
  const [first, ...others] = layers.map(({ mediaType }) => statementOfType(mediaType));
  return (
    (artifactType === undefined ? undefined : statementOfType(artifactType)) ??
    statementOfType(config.mediaType) ??
    (others.every((other) => other !== undefined) ? first : undefined)
  );
}

const signatureNames: ReadonlySet<string> = new Set(
  [...statements.values(), bundle].filter(({ role }) => role === "a signature").map(({ name }) => name),
);

/** Whether a statement of this name is a signature: nobody signs those in turn. */
export function isSignature(name: string | undefined): boolean {
  return name !== undefined && signatureNames.has(name);
}

/** What a manifest that refers to another is (image-spec, manifest.md, "artifactType"); which the list that names it may have wrong. */
export function artifactTypeOf({ artifactType, config }: ImageManifest): string {
  return artifactType ?? config.mediaType;
}

/** Whether an index names an entry as a statement, so that it is nothing to choose for a platform. */
export function isStatement({ artifactType }: Descriptor): boolean {
  return artifactType !== undefined && statementOfType(artifactType) !== undefined;
}

/**
 * Whether an index lists statements and nothing else, as the tag `sha256-…` does where a registry has no referrers
 * API. Some writers put the empty type into it and the true one only into the manifest.
 */
export function listsOnlyStatements({ manifests }: ImageIndex): boolean {
  const isUntold = ({ artifactType, platform }: Descriptor): boolean =>
    artifactType === mediaTypes.ociEmpty && platform === undefined;
  const areAll = manifests.every((entry) => isStatement(entry) || isUntold(entry));
  // What the only entry is, its manifest will tell.
  return areAll && (manifests.some(isStatement) || manifests.length > 1);
}

/** Signatures, attestations and SBOMs: kept with what they are about, but never images themselves. */
export const signatureFormat: ImageFormat = {
  recognizes: (manifest) => statementOf(manifest) !== undefined,

  refusal(manifest: ImageManifest): BpfcacheError | undefined {
    return manifest.subject === undefined ? undefined : notAnImage(manifest, [manifest.subject.digest]);
  },

  async extract({ manifest, layers }: ImageContent): Promise<ExtractedImage> {
    throw notAnImage(manifest, [...new Set(layers.flatMap(subjectsIn))]);
  },
};

function notAnImage(manifest: ImageManifest, subjects: readonly Digest[]): BpfcacheError {
  const { role, form } = statementOf(manifest) ?? signature("of an unknown kind", "signature");
  const about = subjects.length === 0 ? "an image it does not name" : subjects.slice(0, 3).join(", ");
  return new BpfcacheError(
    "INVALID_IMAGE",
    `this is ${role}, not an image: ${form}, ${role === "a signature" ? "signing" : "about"} ${about}`,
    { hint: "Pull the image itself: what is signed and attested of it goes with it." },
  );
}

/** Statements are small; a larger one is refused without saying what it is about. */
const maxStatementBytes = 4 * 1024 * 1024;

/** What a layer is about: cosign's payload, an in-toto statement, or one in a DSSE envelope; nothing when it is neither. */
function subjectsIn({ bytes }: ImageLayer): Digest[] {
  if (bytes.byteLength > maxStatementBytes) return [];
  const json = parseJson(Buffer.from(bytes).toString("utf8"));
  const payload = member(json, "payload");
  const statement =
    typeof payload === "string" ? parseJson(Buffer.from(payload, "base64").toString("utf8")) : json;
  const signed = member(member(member(statement, "critical"), "image"), "docker-manifest-digest");
  const subjects = member(statement, "subject");
  const named = Array.isArray(subjects) ? subjects.slice(0, 100).map(digestIn) : [];
  return [signed, ...named].filter((digest) => typeof digest === "string").filter(isDigest);
}

function digestIn(subject: unknown): string | undefined {
  const hex = member(member(subject, "digest"), "sha256");
  return typeof hex === "string" ? `sha256:${hex}` : undefined;
}

function member(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null && Object.hasOwn(value, name)
    ? (value as Record<string, unknown>)[name]
    : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // It is refused either way; only what it is about stays unsaid.
    return undefined;
  }
}
