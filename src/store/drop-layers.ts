import type { Digest } from "../core/digest.js";
import { type Budget, keepWithin } from "./budget.js";
import { contentBytes, putContent } from "./content-bytes.js";
import type { Environment } from "./environment.js";
import { type Batch, type Read, type Removed, referenceRowsOf } from "./evict.js";
import { hold, holdersOf, isHeld, isHeldBy, manifestOfHolder, removeFromAll } from "./holders.js";
import { digestKey, readDigestKey } from "./keys.js";
import { isProtected } from "./protection.js";
import { asBuffer, type PublishedBlob } from "./publish.js";
import type { BlobEntry, ImageRecord } from "./records.js";
import { decodeRecord } from "./values.js";

// A layer that has been dropped is one that no image holds: its images stay as they are, and name it.

const layersPerBatch = 64;

/** Drops the layers of all images but those of which a reference must stay as it is. */
export function* dropLayerBatches(environment: Environment, read: Read): Generator<Batch> {
  const keys = read(() => environment.tree("layers").keys());
  for (let start = 0; start < keys.length; start += layersPerBatch) {
    yield () => keys.slice(start, start + layersPerBatch).flatMap((key) => drop(environment, key));
  }
}

function drop(environment: Environment, key: Buffer): Removed[] {
  const { digest } = readDigestKey(key);
  if (!environment.tree("layers").has(key)) return [];
  const holders = holdersOf(environment, "layer", digest);
  // What is no image has nothing extracted from its layers: they are all there is of it.
  if (!holders.every((holder) => environment.tree("images").has(holder))) return [];
  const references = holders.flatMap((holder) => referenceRowsOf(environment, manifestOfHolder(holder)));
  if (references.some(({ record }) => isProtected(environment, record))) return [];
  return [{ digest, bytes: removeFromAll(environment, "layer", digest), reason: "layers" }];
}

/** Those layers of an image that have been dropped. */
export function droppedLayers(environment: Environment, manifest: Digest, image: ImageRecord): BlobEntry[] {
  const holder = digestKey(manifest);
  return image.layers.filter(({ digest }) => !isHeldBy(environment, "layer", digest, holder));
}

/**
 * Gives an image its layers again: those given, every size and digest already checked, and those that another image
 * holds. Whether all are here now; false also when the image has been removed. Throws CACHE_FULL.
 */
export function putLayersBack(
  environment: Environment,
  manifest: Digest,
  given: readonly PublishedBlob[],
  budget?: Budget,
): { readonly isWhole: boolean; readonly evicted: readonly Removed[] } {
  const holder = digestKey(manifest);
  const layers = new Map(given.map(({ digest, bytes }) => [digest, bytes]));
  return environment.commit(() => {
    const before = contentBytes(environment);
    const row = environment.tree("images").get(holder);
    if (row === undefined) return { isWhole: false, evicted: [] };
    const image = decodeRecord<ImageRecord>(row);
    for (const { digest } of droppedLayers(environment, manifest, image)) {
      const bytes = layers.get(digest);
      if (!isHeld(environment, "layer", digest)) {
        if (bytes === undefined) continue;
        putContent(environment, "layers", digestKey(digest), asBuffer(bytes));
      }
      hold(environment, "layer", digest, holder);
    }
    const evicted = keepWithin(environment, budget, { before, except: manifest });
    return { isWhole: droppedLayers(environment, manifest, image).length === 0, evicted };
  });
}
