import type { Digest } from "../core/digest.js";
import type { Environment } from "./environment.js";
import { digestKey, nameKey, readDigestKey, rootKey } from "./keys.js";
import { type ImageRecord, type ObjectRecord, type RefRecord, rootDigestOf } from "./records.js";
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

function contentPrefix(kind: ContentKind, digest: Digest): Buffer {
  return Buffer.concat([Buffer.of(kindByte[kind]), digestKey(digest)]);
}

export function hold(environment: Environment, kind: ContentKind, digest: Digest, holder: Buffer): void {
  environment.tree("heldBy").put(Buffer.concat([contentPrefix(kind, digest), holder]), present);
}

const present = Buffer.of(1);

/** Whether the content is here: it is exactly when somebody holds it. */
export function isHeld(environment: Environment, kind: ContentKind, digest: Digest): boolean {
  return environment.tree("heldBy").hasPrefix(contentPrefix(kind, digest));
}

/** The holders of some content: reference keys for manifests, manifest digest keys for the rest. */
export function holdersOf(environment: Environment, kind: ContentKind, digest: Digest): Buffer[] {
  const prefix = contentPrefix(kind, digest);
  return environment
    .tree("heldBy")
    .keys(prefix)
    .map((key) => key.subarray(prefix.length));
}

/** Lets go of everything a reference held. Returns the bytes that were freed. Only inside `commit`. */
export function releaseReference(environment: Environment, key: Buffer, record: RefRecord): number {
  let freed = 0;
  for (const digest of new Set(record.chain)) freed += release(environment, "manifest", digest, key);
  forgetRoot(environment, record);
  return freed;
}

function release(environment: Environment, kind: ContentKind, digest: Digest, holder: Buffer): number {
  environment.tree("heldBy").remove(Buffer.concat([contentPrefix(kind, digest), holder]));
  if (isHeld(environment, kind, digest)) return 0;
  if (kind === "manifest") return removeManifest(environment, digest);
  if (kind === "object") return removeObject(environment, digest);
  return removeValue(environment, blobTrees[kind], digest);
}

function removeManifest(environment: Environment, digest: Digest): number {
  const key = digestKey(digest);
  const images = environment.tree("images");
  const image = images.get(key);
  let freed = removeValue(environment, "manifests", digest);
  environment.tree("usage").remove(key);
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
  return removeValue(environment, "objects", digest);
}

function removeValue(
  environment: Environment,
  name: "manifests" | "configs" | "layers" | "objects",
  digest: Digest,
): number {
  const tree = environment.tree(name);
  const key = digestKey(digest);
  const bytes = tree.view(key)?.length ?? 0;
  tree.remove(key);
  return bytes;
}

/**
 * A root that other platforms still hold must not go on leading to a manifest that nobody holds for its sake: that may
 * go at any time. Only inside `commit`, after the reference's own row has gone or changed.
 */
export function forgetRoot(environment: Environment, record: RefRecord): void {
  const root = rootDigestOf(record);
  const isStillMeant = holdersOf(environment, "manifest", root).some((holder) => {
    const row = environment.tree("refs").get(holder);
    const other = row && decodeRecord<RefRecord>(row);
    return other !== undefined && other.platform === record.platform && rootDigestOf(other) === root;
  });
  if (!isStillMeant) environment.tree("roots").remove(rootKey(root, record.platform));
}

/** The digest of a holder that is a manifest. */
export function manifestOfHolder(holder: Buffer): Digest {
  return readDigestKey(holder).digest;
}
