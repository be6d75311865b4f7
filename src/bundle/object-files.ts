import { createHash } from "node:crypto";
import { throwIfAborted } from "../core/errors.js";
import { byteOrderOf, parsePlatform } from "../core/platform.js";
import { parseReference } from "../core/reference.js";
import type { ImageDetails, InspectedObject } from "../store/catalog.js";
import type { Bundled, BundleRequest, ExportedImage } from "./bundle.js";

/**
 * Writes each object as `NAME.o` with `NAME.json` beside it, for loaders that want paths. Of each image these are the
 * objects that its platform can load: those of its byte order.
 */
export async function bundleObjectFiles(request: BundleRequest): Promise<Bundled> {
  const { store, closures, signal } = request;
  const images: ExportedImage[] = [];
  for (const { image, missing } of closures) {
    const { reference, rootDigest } = image;
    const named = parseReference(reference);
    const platforms = image.platforms.map(({ platform }) => platform);
    const files = platforms.map(parsePlatform).flatMap((platform) => {
      const details = store.inspect(named, platform);
      const loadable = details.objects.filter(({ byteOrder }) => byteOrder === byteOrderOf(platform));
      return loadable.map((object) => ({ platform, details, object }));
    });
    const total = files.reduce((sum, { object }) => sum + object.size, 0);
    let bytes = 0;
    request.onImage(image, bytes, total);
    for (const { platform, details, object } of files) {
      throwIfAborted(signal);
      const bytecode = store.bytecode(named, platform, { object: object.digest });
      const name = objectFileName(details, object);
      await request.write(`${name}.o`, bytecode.bytes);
      await request.write(
        `${name}.json`,
        Buffer.from(`${JSON.stringify(describe(details, object), null, 2)}\n`),
      );
      bytes += bytecode.size;
      request.onImage(image, bytes, total);
    }
    images.push({ reference, rootDigest, platforms, bytes, missing });
  }
  return { images, failed: [] };
}

/** Long enough to recognize the object; the rest of a file name (255 bytes at most) is for what makes it unique. */
const maxReadableLength = 160;

/**
 * A file name that says what it is, and that depends on nothing but the object's own names: hostile ones can neither
 * leave the directory nor collide, because everything unusual is replaced and a hash of the true names is in it.
 */
function objectFileName({ reference, platform }: ImageDetails, { name, digest }: InspectedObject): string {
  const readable = [reference, platform, name.replace(/\.o$/, "")]
    .map((part) => part.replace(/[^A-Za-z0-9.-]+/g, "_").replace(/\.{2,}/g, "_"))
    .join("-")
    .replace(/^[.-]+/, "_")
    .slice(0, maxReadableLength);
  const identity = JSON.stringify([reference, platform, name, digest]);
  return `${readable}-${createHash("sha256").update(identity).digest("hex").slice(0, 16)}`;
}

/** What is known of the object, without anything that says when or how it came here. */
function describe(image: ImageDetails, object: InspectedObject): object {
  return {
    reference: image.reference,
    rootDigest: image.rootDigest,
    manifestDigest: image.manifestDigest,
    layerDigest: object.layerDigest,
    digest: object.digest,
    platform: image.platform,
    format: image.format,
    name: object.name,
    size: object.size,
    byteOrder: object.byteOrder,
    license: object.license,
    coreRelocations: object.coreRelocations,
    programs: object.programs,
    maps: object.maps,
    labels: Object.fromEntries(Object.entries(image.labels).sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}
