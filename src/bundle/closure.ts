import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { formatPlatform } from "../core/platform.js";
import type { Descriptor } from "../image/descriptor.js";
import { parseManifest } from "../image/manifest.js";
import { manifestDigestOf, type RootRecord } from "../store/records.js";
import type { Store } from "../store/store.js";
import { type ContentItem, requireManifest } from "./content.js";
import { type Referrer, referrersOf } from "./referrers.js";
import { compare, type SelectedImage } from "./selection.js";

/** A manifest that an index of the image names and that is not here. */
export interface MissingManifest {
  readonly digest: Digest;
  readonly platform: string | null;
}

/** An image to export with everything it needs. */
export interface ImageClosure {
  readonly image: SelectedImage;
  readonly root: Pick<Descriptor, "mediaType" | "digest" | "size">;
  readonly rows: readonly RowClosure[];
  readonly referrers: readonly Referrer[];
  readonly missing: readonly MissingManifest[];
}

/** What an image needs on one platform, what refers to it included. */
export interface RowClosure {
  readonly row: RootRecord;
  readonly content: readonly ContentItem[];
}

/** Throws NOT_CACHED, naming what is not here, and CACHE_CORRUPT. */
export function closureOf(store: Store, image: SelectedImage): ImageClosure {
  const { reference, rootDigest } = image;
  const manifests = new Map<Digest, { size: number; mediaType: string; children: readonly Descriptor[] }>();
  const referrers = new Map<Digest, readonly Referrer[]>();
  for (const digest of new Set(image.platforms.flatMap(({ chain }) => chain))) {
    const { mediaType, bytes } = requireManifest(store, digest, reference);
    const parsed = parseManifest(bytes, mediaType);
    const children = parsed.kind === "index" ? parsed.manifests : [];
    manifests.set(digest, { mediaType, size: bytes.length, children });
    referrers.set(digest, referrersOf(store, digest));
  }
  const rows = image.platforms.map((row) => ({
    row,
    content: [
      ...row.chain.map((digest) => ({
        kind: "manifest" as const,
        digest,
        size: manifests.get(digest)?.size ?? 0,
      })),
      ...blobsOf(store, manifestDigestOf(row), reference),
      ...row.chain.flatMap((digest) => (referrers.get(digest) ?? []).flatMap(({ content }) => content)),
    ],
  }));
  requireHere(store, rows, reference);
  const { mediaType, size } = manifests.get(rootDigest) ?? { mediaType: "", size: 0 };
  const children = [...manifests.values()].flatMap((manifest) => manifest.children);
  return {
    image,
    root: { mediaType, digest: rootDigest, size },
    rows,
    referrers: uniqueReferrers([...referrers.values()].flat()),
    missing: missingOf(children, rows),
  };
}

/** Each piece of content once, in order of the digests. */
export function uniqueContent(items: readonly ContentItem[]): readonly ContentItem[] {
  const unique = new Map(items.map((item) => [item.digest, item]));
  return [...unique.values()].sort((a, b) => compare(a.digest, b.digest));
}

function uniqueReferrers(all: readonly Referrer[]): readonly Referrer[] {
  return [...new Map(all.map((referrer) => [referrer.descriptor.digest, referrer])).values()];
}

function blobsOf(store: Store, manifest: Digest, reference: string): ContentItem[] {
  const record = store.image(manifest);
  if (record === undefined) {
    throw new BpfcacheError("NOT_CACHED", "the image was removed while it was exported", { reference });
  }
  const { config, layers } = record;
  return [
    { kind: "config", digest: config.digest, size: config.size },
    ...layers.map(({ digest, size }) => ({ kind: "layer" as const, digest, size })),
  ];
}

/** An image may be kept without its layers, for loading only. */
function requireHere(store: Store, rows: readonly RowClosure[], reference: string): void {
  const lacking = uniqueContent(rows.flatMap(({ content }) => content)).filter(
    ({ kind, digest }) => kind !== "manifest" && !store.holds(kind, digest),
  );
  if (lacking.length === 0) return;
  const names = lacking.map(({ kind, digest }) => `${kind} ${digest}`).join(", ");
  throw new BpfcacheError("NOT_CACHED", `not all of the image is here any more: ${names}`, {
    reference,
    hint: "Layers that prune has dropped are fetched again where the registry can be reached.",
  });
}

function missingOf(children: readonly Descriptor[], rows: readonly RowClosure[]): MissingManifest[] {
  const here = new Set(rows.flatMap(({ content }) => content.map(({ digest }) => digest)));
  const missing = children
    .filter(({ digest }) => !here.has(digest))
    .map(({ digest, platform }) => ({
      digest,
      platform: platform === undefined ? null : formatPlatform(platform),
    }));
  const unique = new Map(missing.map((entry) => [`${entry.digest} ${entry.platform}`, entry]));
  return [...unique].sort(([a], [b]) => compare(a, b)).map(([, entry]) => entry);
}
