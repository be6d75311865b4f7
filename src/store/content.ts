import { type Digest, digestAlgorithm, digestOf } from "../core/digest.js";
import { DamagedRow } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { type ContentKind, contentTrees, isHeld } from "./holders.js";
import { digestKey } from "./keys.js";
import { decodeManifest } from "./values.js";

/** Some content as it is kept, re-hashed; undefined when it is not here. Throws CACHE_CORRUPT, as a DamagedRow. */
export function contentAt(environment: Environment, kind: ContentKind, digest: Digest): Buffer | undefined {
  if (!isHeld(environment, kind, digest)) return undefined;
  const tree = contentTrees[kind];
  const bytes = environment.tree(tree).get(digestKey(digest));
  if (bytes !== undefined && hashOfContent(kind, bytes, digest) === digest) return bytes;
  throw new DamagedRow(tree, digestKey(digest), `the ${kind} ${digest} is damaged in the cache`);
}

export function hashOfContent(kind: ContentKind, view: Buffer, digest: Digest): string {
  if (kind !== "manifest") return digestOf(view, digestAlgorithm(digest));
  try {
    return digestOf(decodeManifest(view).bytes, digestAlgorithm(digest));
  } catch {
    return "nothing: its envelope is damaged";
  }
}
