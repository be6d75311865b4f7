import { type Digest, digestAlgorithm, digestHex } from "../core/digest.js";
import { throwIfAborted } from "../core/errors.js";
import type { Bundled, BundleRequest, ExportedImage } from "./bundle.js";
import { type ImageClosure, uniqueContent } from "./closure.js";
import { type ContentItem, requireContent } from "./content.js";
import { layoutIndex } from "./layout-index.js";
import { heldThroughout, type LockedImage, lockOf } from "./lock.js";
import { compare } from "./selection.js";
import { layoutMarker } from "./target.js";

/**
 * Writes an OCI image layout in one pass: every blob once, in order of the digests, the index last. A bundle with a
 * base leaves out what the other side has, but an image that is new or has something new is listed with its root.
 */
export async function bundleLayout(request: BundleRequest): Promise<Bundled> {
  const { store, closures, base, lock, signal, write } = request;
  const held: ReadonlySet<Digest> = base === undefined ? new Set() : heldThroughout(base, lock);
  const known = new Set(base?.images.map(rowName));
  const carried = closures.flatMap((closure): Carried[] => {
    const content = carriedContent(closure, held);
    const isNew = content.length > 0 || lockOf([closure]).images.some((row) => !known.has(rowName(row)));
    return isNew ? [{ closure, content: uniqueContent([...content, rootItem(closure)]) }] : [];
  });
  await write(layoutMarker, Buffer.from('{"imageLayoutVersion":"1.0.0"}\n'));
  for (const { item, reference } of contentOf(carried)) {
    throwIfAborted(signal);
    await write(blobPath(item.digest), requireContent(store, item, reference));
  }
  await write("index.json", layoutIndex(carried.map(withCarriedReferrers)));
  const contentByReference = new Map(
    carried.map(({ closure, content }) => [closure.image.reference, content]),
  );
  return {
    images: closures.map((closure) =>
      describe(closure, contentByReference.get(closure.image.reference) ?? []),
    ),
    failed: [],
  };
}

interface Carried {
  readonly closure: ImageClosure;
  readonly content: readonly ContentItem[];
}

function carriedContent({ rows }: ImageClosure, held: ReadonlySet<Digest>): readonly ContentItem[] {
  return uniqueContent(rows.flatMap(({ content }) => content)).filter(({ digest }) => !held.has(digest));
}

/** What is listed is there: a referrer that the other side has is left out of the index too. */
function withCarriedReferrers({ closure, content }: Carried): ImageClosure {
  const digests = new Set(content.map(({ digest }) => digest));
  const referrers = closure.referrers.filter(({ descriptor }) => digests.has(descriptor.digest));
  return { ...closure, referrers };
}

function rowName({ reference, platform, rootDigest }: LockedImage): string {
  return `${reference} ${platform} ${rootDigest}`;
}

function rootItem({ root: { digest, size } }: ImageClosure): ContentItem {
  return { kind: "manifest", digest, size };
}

/** All content once, each with a reference to name when it cannot be read. */
function contentOf(carried: readonly Carried[]): readonly { item: ContentItem; reference: string }[] {
  const all = new Map(
    carried.flatMap(({ closure, content }) =>
      content.map((item) => [item.digest, { item, reference: closure.image.reference }] as const),
    ),
  );
  return [...all.values()].sort((a, b) => compare(a.item.digest, b.item.digest));
}

function describe({ image, missing }: ImageClosure, content: readonly ContentItem[]): ExportedImage {
  return {
    reference: image.reference,
    rootDigest: image.rootDigest,
    platforms: image.platforms.map(({ platform }) => platform),
    bytes: content.reduce((sum, { size }) => sum + size, 0),
    missing,
  };
}

function blobPath(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}
