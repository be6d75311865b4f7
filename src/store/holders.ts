import type { Digest } from "../core/digest.js";
import { removeContent } from "./content-bytes.js";
import type { Environment } from "./environment.js";
import { digestKey, nameKey, readDigestKey } from "./keys.js";
import {
  type ImageRecord,
  manifestDigestOf,
  type ObjectRecord,
  type RefRecord,
  rootDigestOf,
} from "./records.js";
import { removeLastUse } from "./usage.js";
import { decodeRecord } from "./values.js";

/**
 * Who needs what. The tree heldBy has a row (content, holder) for every need: a reference holds its root and its
 * manifest (and the indexes between them), a manifest holds its config, layers and objects. What nobody holds any
 * more is removed at once, in the transaction that let go of it, so the cost of a removal is that of what it frees
 * and never that of a walk through the cache.
 */
export type ContentKind = "manifest" | "config" | "layer" | "object";

const kindByte: Readonly<Record<ContentKind, number>> = { manifest: 1, config: 2, layer: 3, object: 4 };
const blobTrees = { config: "configs", layer: "layers" } as const;

/** What keys about this content begin with. */
export function contentKey(kind: ContentKind, digest: Digest): Buffer {
  return Buffer.concat([Buffer.of(kindByte[kind]), digestKey(digest)]);
}

export function hold(environment: Environment, kind: ContentKind, digest: Digest, holder: Buffer): void {
  environment.tree("heldBy").put(Buffer.concat([contentKey(kind, digest), holder]), present);
}

const present = Buffer.of(1);

export function isHeldBy(
  environment: Environment,
  kind: ContentKind,
  digest: Digest,
  holder: Buffer,
): boolean {
  return environment.tree("heldBy").has(Buffer.concat([contentKey(kind, digest), holder]));
}

/** Whether the content is here: it is exactly when somebody holds it. */
export function isHeld(environment: Environment, kind: ContentKind, digest: Digest): boolean {
  return environment.tree("heldBy").hasPrefix(contentKey(kind, digest));
}

/** The holders of some content: reference keys for manifests, manifest digest keys for the rest. */
export function holdersOf(environment: Environment, kind: ContentKind, digest: Digest): Buffer[] {
  const prefix = contentKey(kind, digest);
  return environment
    .tree("heldBy")
    .keys(prefix)
    .map((key) => key.subarray(prefix.length));
}

/** Removes a reference with everything that only it held. Returns the bytes that were freed. Only inside `commit`. */
export function removeReference(environment: Environment, key: Buffer, record: RefRecord): number {
  environment.tree("refs").remove(key);
  return releaseReference(environment, key, record);
}

/** Removes content whoever holds it. Returns the bytes that were freed. Only inside `commit`. */
export function removeFromAll(environment: Environment, kind: ContentKind, digest: Digest): number {
  for (const key of environment.tree("heldBy").keys(contentKey(kind, digest)))
    environment.tree("heldBy").remove(key);
  return remove(environment, kind, digest);
}

/** Lets go of everything a reference held. Returns the bytes that were freed. Only inside `commit`. */
export function releaseReference(environment: Environment, key: Buffer, record: RefRecord): number {
  let freed = 0;
  for (const digest of new Set(record.chain)) freed += release(environment, "manifest", digest, key);
  forgetChildOfRoot(environment, record);
  return freed;
}

function release(environment: Environment, kind: ContentKind, digest: Digest, holder: Buffer): number {
  environment.tree("heldBy").remove(Buffer.concat([contentKey(kind, digest), holder]));
  return isHeld(environment, kind, digest) ? 0 : remove(environment, kind, digest);
}

function remove(environment: Environment, kind: ContentKind, digest: Digest): number {
  if (kind === "manifest") return removeManifest(environment, digest);
  if (kind === "object") return removeObject(environment, digest);
  return removeContent(environment, blobTrees[kind], digestKey(digest));
}

function removeManifest(environment: Environment, digest: Digest): number {
  const key = digestKey(digest);
  const images = environment.tree("images");
  const image = images.get(key);
  let freed = removeContent(environment, "manifests", key);
  removeLastUse(environment, digest);
  for (const root of environment.tree("roots").keys(key)) environment.tree("roots").remove(root);
  if (image === undefined) return freed;
  images.remove(key);
  const { config, layers, objects } = decodeRecord<ImageRecord>(image);
  freed += release(environment, "config", config.digest, key);
  for (const layer of layers) freed += release(environment, "layer", layer.digest, key);
  for (const object of objects) freed += release(environment, "object", object.digest, key);
  return freed;
}

function removeObject(environment: Environment, digest: Digest): number {
  const key = digestKey(digest);
  const facts = environment.tree("objectInfo").get(key);
  if (facts !== undefined) {
    const { programs, maps } = decodeRecord<ObjectRecord>(facts);
    for (const { name } of programs) environment.tree("byProgram").remove(nameKey(name, digest));
    for (const { name } of maps) environment.tree("byMap").remove(nameKey(name, digest));
    environment.tree("objectInfo").remove(key);
  }
  return removeContent(environment, "objects", key);
}

/** A root that other platforms still hold must not go on naming a manifest that has just gone. */
function forgetChildOfRoot(environment: Environment, record: RefRecord): void {
  const manifest = manifestDigestOf(record);
  if (isHeld(environment, "manifest", manifest)) return;
  const roots = environment.tree("roots");
  for (const { key, value } of roots.entries(digestKey(rootDigestOf(record)))) {
    if (manifestDigestOf(decodeRecord<RefRecord>(value)) === manifest) roots.remove(key);
  }
}

/** The digest of a holder that is a manifest. */
export function manifestOfHolder(holder: Buffer): Digest {
  return readDigestKey(holder).digest;
}
