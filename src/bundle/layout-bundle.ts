import { type Digest, digestAlgorithm, digestHex } from "../core/digest.js";
import { throwIfAborted } from "../core/errors.js";
import type { Bundled, BundleRequest, ExportedImage } from "./bundle.js";
import { type ImageClosure, uniqueContent } from "./closure.js";
import { type ContentItem, requireContent } from "./content.js";
import { layoutIndex } from "./layout-index.js";
import { heldThroughout, type LockedImage, lockOf } from "./lock.js";
import { layoutMarker } from "./target.js";

/**
 * Writes an OCI image layout in one pass: image by image in order of their references, every blob once, the index last. A bundle with a
 * base leaves out what the other side has, but an image that is new or has something new is listed with its root.
 */
export async function bundleLayout(request: BundleRequest): Promise<Bundled> {
  const { store, closures, base, lock, signal, write, onImage } = request;
  const held: ReadonlySet<Digest> = base === undefined ? new Set() : heldThroughout(base, lock);
  const known = new Set(base?.images.map(rowName));
  const carried = closures.flatMap((closure): Carried[] => {
    const content = carriedContent(closure, held);
    const isNew = content.length > 0 || lockOf([closure]).images.some((row) => !known.has(rowName(row)));
    return isNew ? [{ closure, content: uniqueContent([...content, rootItem(closure)]) }] : [];
  });
  await write(layoutMarker, Buffer.from('{"imageLayoutVersion":"1.0.0"}\n'));
  const written = new Set<Digest>();
  for (const { closure, content } of carried) {
    const { image } = closure;
    const total = sizeOf(content);
    let bytes = 0;
    onImage(image, bytes, total);
    for (const item of content) {
      throwIfAborted(signal);
      if (!written.has(item.digest))
        await write(blobPath(item.digest), requireContent(store, item, image.reference));
      written.add(item.digest);
      bytes += item.size;
      onImage(image, bytes, total);
    }
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

function sizeOf(content: readonly ContentItem[]): number {
  return content.reduce((sum, { size }) => sum + size, 0);
}

function describe({ image, missing }: ImageClosure, content: readonly ContentItem[]): ExportedImage {
  return {
    reference: image.reference,
    rootDigest: image.rootDigest,
    platforms: image.platforms.map(({ platform }) => platform),
    bytes: sizeOf(content),
    missing,
  };
}

function blobPath(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}
