import type { Digest } from "../core/digest.js";
import { digestAlgorithm, digestHex } from "../core/digest.js";
import type { Descriptor } from "../image/descriptor.js";
import { statementOf } from "../image/formats/signature.js";
import { type ImageManifest, parseManifest } from "../image/manifest.js";
import type { Store } from "../store/store.js";
import { type ContentItem, requireManifest } from "./content.js";
import { compare } from "./selection.js";

/** A signature or attestation that is exported with what it is about. */
export interface Referrer {
  readonly descriptor: Descriptor;
  /** The tag it is found under where nothing in it names its subject: cosign's form of before OCI 1.1. */
  readonly tag: string | undefined;
  readonly content: readonly ContentItem[];
}

/** An attestation may itself be signed; deeper than this nobody looks. */
const maxDepth = 3;

/** All that refers to a manifest, and what refers to that, in order of the digests. */
export function referrersOf(store: Store, subject: Digest, reference: string): readonly Referrer[] {
  const found = new Map<Digest, Referrer>();
  const collect = (about: Digest, depth: number): void => {
    for (const { artifactType, digest } of store.referrersOf(about)) {
      if (found.has(digest)) continue;
      found.set(digest, describeReferrer(store, about, { artifactType, digest }, reference));
      if (depth < maxDepth) collect(digest, depth + 1);
    }
  };
  collect(subject, 1);
  return [...found.values()].sort((a, b) => compare(a.descriptor.digest, b.descriptor.digest));
}

function describeReferrer(
  store: Store,
  subject: Digest,
  { artifactType, digest }: { readonly artifactType: string; readonly digest: Digest },
  reference: string,
): Referrer {
  const { mediaType, bytes } = requireManifest(store, digest, reference);
  const own: ContentItem = { kind: "manifest", digest, size: bytes.length };
  const manifest = parseManifest(bytes, mediaType);
  const descriptor = { mediaType, digest, size: bytes.length, ...(artifactType !== "" && { artifactType }) };
  if (manifest.kind === "index") return { descriptor, tag: undefined, content: [own] };
  const { config, layers } = manifest;
  return {
    descriptor,
    tag: manifest.subject === undefined ? `${tagOf(subject)}.${suffixOf(manifest)}` : undefined,
    content: [
      own,
      { kind: "config", digest: config.digest, size: config.size },
      ...layers.map(({ digest: layer, size }) => ({ kind: "layer" as const, digest: layer, size })),
    ],
  };
}

/** distribution-spec, "Referrers Tag Schema"; cosign's tags are this with an ending. */
function tagOf(subject: Digest): string {
  return `${digestAlgorithm(subject)}-${digestHex(subject)}`;
}

function suffixOf(manifest: ImageManifest): "sig" | "att" | "sbom" {
  switch (statementOf(manifest)?.role) {
    case "an attestation":
      return "att";
    case "an SBOM":
      return "sbom";
    default:
      return "sig";
  }
}
