import type { Digest } from "../core/digest.js";
import { isSignature } from "../image/formats/signature.js";
import type { ReferrerRecord } from "../store/records.js";
import type { PublishedReferrer } from "../store/referrers.js";

/** A manifest that refers to an image and may carry signatures of it. */
export interface SignatureDocument {
  readonly digest: Digest;
  /** What people call it. */
  readonly kind: string;
  readonly layers: readonly DocumentLayer[];
  /** Why its content is not known, when it is not. */
  readonly fault?: string | undefined;
}

export interface DocumentLayer {
  readonly mediaType: string;
  readonly annotations: Readonly<Record<string, unknown>>;
  readonly bytes: Uint8Array;
}

/** Whether a document can be a signature: attestations and SBOMs say something else of an image than that it is right. */
export function isSignatureDocument({ kind }: ReferrerRecord): boolean {
  return isSignature(kind);
}

/** The document as the puller or the store has it, every size and digest in it already checked. */
export function signatureDocument({ record, manifest, blobs }: PublishedReferrer): SignatureDocument {
  const { digest, kind = "signature" } = record;
  const descriptors = layersOf(manifest);
  const [, ...contents] = blobs;
  return {
    digest,
    kind,
    layers: contents.map((bytes, index) => ({ ...layerOf(descriptors[index]), bytes })),
  };
}

/** One of which something is damaged or missing. */
export function brokenDocument(
  { digest, kind = "signature" }: ReferrerRecord,
  fault: string,
): SignatureDocument {
  return { digest, kind, layers: [], fault };
}

function layersOf(manifest: Uint8Array): readonly unknown[] {
  const layers = (JSON.parse(Buffer.from(manifest).toString("utf8")) as { layers?: unknown }).layers;
  return Array.isArray(layers) ? layers : [];
}

function layerOf(descriptor: unknown): Omit<DocumentLayer, "bytes"> {
  const { mediaType, annotations } = asRecord(descriptor);
  return { mediaType: typeof mediaType === "string" ? mediaType : "", annotations: asRecord(annotations) };
}

/** An object's own members; none of what is no object. */
export function asRecord(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {};
}
