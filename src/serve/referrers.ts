import { isDigest } from "../core/digest.js";
import { mediaTypes } from "../image/media-types.js";
import type { Store } from "../store/store.js";
import { type Answer, found, refusal } from "./answer.js";

/**
 * distribution-spec, "Listing Referrers": an index of what names the digest as its subject, empty for one that nothing
 * is known of. What only cosign's tag ties to it is found by that tag, and BuildKit's attestations in the index.
 */
export function answerReferrers(store: Store, name: string, what: string, query: URLSearchParams): Answer {
  if (!isDigest(what)) return refusal(400, "MANIFEST_INVALID", `${what} is not a digest`);
  const wanted = query.get("artifactType");
  const referrers = store.belongsTo(name, "manifest", what) ? store.referrersOf(what) : [];
  const manifests = referrers
    .filter(({ tag, isInIndex }) => tag === undefined && isInIndex !== true)
    .filter(({ artifactType }) => wanted === null || artifactType === wanted)
    .map(({ mediaType, digest, size, artifactType, annotations }) => ({
      mediaType,
      digest,
      size,
      artifactType,
      ...(annotations === undefined ? {} : { annotations }),
    }));
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests };
  const filters = wanted === null ? {} : { "oci-filters-applied": "artifactType" };
  return found(Buffer.from(JSON.stringify(index)), mediaTypes.ociIndex, filters);
}
