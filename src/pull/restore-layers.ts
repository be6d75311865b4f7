import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { emit } from "../core/events.js";
import type { Limits } from "../core/limits.js";
import { notCached } from "../store/bytecode.js";
import type { PublishedBlob } from "../store/publish.js";
import { type BlobEntry, manifestDigestOf } from "../store/records.js";
import type { Store } from "../store/store.js";
import { fetchVerified } from "./fetch.js";
import type { PullRequest } from "./request.js";

/** Which layers an image has got back, and what it took. */
export interface RestoredLayers {
  readonly reference: string;
  readonly manifestDigest: string;
  /** Those that were not here. */
  readonly layers: readonly { readonly digest: string; readonly size: number }[];
  readonly requests: number;
  readonly bytesFetched: number;
}

/**
 * Fetches those layers of an image that were dropped, by digest, and puts them back all at once. Those that another
 * image has are not fetched. Throws NOT_CACHED when the image is not here, or the policy is Never and a layer is not;
 * CACHE_FULL; and what the source throws.
 */
export async function restoreLayers(
  store: Store,
  limits: Limits,
  request: PullRequest,
): Promise<RestoredLayers> {
  const record = store.find(request.reference, request.platform);
  if (record === undefined) throw notCached(request.reference);
  return restoreLayersOf(store, limits, request, manifestDigestOf(record));
}

/** The same for an image by its manifest digest, whatever platform it is for. */
export async function restoreLayersOf(
  store: Store,
  limits: Limits,
  request: PullRequest,
  manifestDigest: Digest,
): Promise<RestoredLayers> {
  const { reference, onEvent } = request;
  const layers = store.droppedLayers(manifestDigest);
  if (layers === undefined) throw notCached(reference);
  // Only what no other image holds: those come back without being fetched.
  const missing = layers.filter(({ digest }) => store.blob("layer", digest) === undefined);
  if (missing.length > 0 && request.policy === "Never") throw layersNotCached(request, missing);
  const { fetched, requests } = await fetchLayers(store, limits, request, missing);
  const { isWhole, evicted } = store.putLayersBack(manifestDigest, fetched);
  for (const { reference: gone = "", bytes, reason } of evicted)
    emit(onEvent, { event: "evicted", reference: gone, bytes, reason });
  if (!isWhole) throw layersNotCached(request, missing);
  return {
    reference: reference.toString(),
    manifestDigest,
    layers: layers.map(({ digest, size }) => ({ digest, size })),
    requests,
    bytesFetched: fetched.reduce((sum, { bytes }) => sum + bytes.byteLength, 0),
  };
}

async function fetchLayers(
  store: Store,
  limits: Limits,
  { reference, source, signal, onEvent }: PullRequest,
  layers: readonly BlobEntry[],
): Promise<{ readonly fetched: readonly PublishedBlob[]; readonly requests: number }> {
  store.requireRoom(layers.map((layer) => ({ ...layer, kind: "layer" })));
  let requests = 0;
  const options = { signal, onEvent, onRequest: () => requests++, what: "the layer" };
  const fetched = await Promise.all(
    layers.map(async (layer) => ({
      digest: layer.digest,
      bytes: await fetchVerified(source, reference, layer, { ...options, maxBytes: limits.layerBytes }),
    })),
  );
  return { fetched, requests };
}

function layersNotCached({ reference }: PullRequest, layers: readonly BlobEntry[]): BpfcacheError {
  const digests = layers.map(({ digest }) => digest).join(", ");
  return new BpfcacheError("NOT_CACHED", `layers of the image are not in the cache: ${digests}`, {
    reference: reference.toString(),
    hint: "They were pruned. Go online, and try again.",
  });
}
