import { isDigest } from "../core/digest.js";
import { parseReference } from "../core/reference.js";
import type { Store } from "../store/store.js";
import { type Answer, digestHeaders, found, notModified, refusal } from "./answer.js";

/** A manifest or index of the repository `name`, by tag or digest, byte for byte as it was taken in. */
export function answerManifest(
  store: Store,
  name: string,
  what: string,
  ifNoneMatch: string | undefined,
): Answer {
  const digest = isDigest(what) ? what : store.rootOf(parseReference(`${name}:${what}`));
  const unknown = refusal(404, "MANIFEST_UNKNOWN", `${name} has no manifest ${what} in this cache`);
  if (digest === undefined || !store.belongsTo(name, "manifest", digest)) return unknown;
  const known = notModified(ifNoneMatch, digest);
  if (known !== undefined) return known;
  const manifest = store.manifest(digest);
  return manifest === undefined ? unknown : found(manifest.bytes, manifest.mediaType, digestHeaders(digest));
}
