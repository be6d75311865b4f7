import { type Digest, isDigest } from "../core/digest.js";
import { parseReference } from "../core/reference.js";
import type { Store } from "../store/store.js";
import { type Answer, digestHeaders, found, notModified, refusal } from "./answer.js";

/** What a tag or digest means in the repository `name` (`host/path`); undefined when it has no such manifest here. */
export function manifestDigest(store: Store, name: string, what: string): Digest | undefined {
  const digest = isDigest(what) ? what : digestOfTag(store, name, what);
  return digest !== undefined && store.belongsTo(name, "manifest", digest) ? digest : undefined;
}

/** A manifest or index, byte for byte as it was taken in. */
export function answerManifest(
  store: Store,
  {
    name,
    what,
    digest,
  }: { readonly name: string; readonly what: string; readonly digest: Digest | undefined },
  ifNoneMatch: string | undefined,
): Answer {
  const unknown = refusal(404, "MANIFEST_UNKNOWN", `${name} has no manifest ${what} in this cache`);
  if (digest === undefined) return unknown;
  const known = notModified(ifNoneMatch, digest);
  if (known !== undefined) return known;
  const manifest = store.manifest(digest);
  return manifest === undefined ? unknown : found(manifest.bytes, manifest.mediaType, digestHeaders(digest));
}

/** A tag that was pulled, or one of cosign's, which are made of the digest of what they are about. */
function digestOfTag(store: Store, name: string, tag: string): Digest | undefined {
  const pulled = store.rootOf(parseReference(`${name}:${tag}`));
  if (pulled !== undefined) return pulled;
  const [, algorithm, hex] = /^(sha256|sha512)-([0-9a-f]+)\.[a-z]+$/.exec(tag) ?? [];
  const subject = `${algorithm}:${hex}`;
  return isDigest(subject)
    ? store.referrersOf(subject).find((referrer) => referrer.tag === tag)?.digest
    : undefined;
}
