import type { Digest } from "../core/digest.js";
import { soundRecordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { digestKey, nameKey, objectOfName, readDigestKey } from "./keys.js";
import {
  type ImageRecord,
  manifestDigestOf,
  type ObjectRecord,
  type RefRecord,
  type RootRecord,
  rootDigestOf,
} from "./records.js";
import type { TreeName } from "./trees.js";

/**
 * Who needs what. The tree heldBy has a row (content, holder) for every need: a reference holds its root and its
 * manifest (and the indexes between them), a manifest holds its config, layers and objects. What nobody holds any
 * more is removed at once, in the transaction that let go of it, so the cost of a removal is that of what it frees
 * and never that of a walk through the cache.
 */
export type ContentKind = "manifest" | "config" | "layer" | "object";

const kindByte: Readonly<Record<ContentKind, number>> = { manifest: 1, config: 2, layer: 3, object: 4 };
/** Where the bytes of each kind are. */
export const contentTrees = {
  manifest: "manifests",
  config: "configs",
  layer: "layers",
  object: "objects",
} as const satisfies Readonly<Record<ContentKind, TreeName>>;

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

export function isHeldBy(
  environment: Environment,
  kind: ContentKind,
  digest: Digest,
  holder: Buffer,
): boolean {
  return environment.tree("heldBy").has(Buffer.concat([contentPrefix(kind, digest), holder]));
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
  forgetChildOfRoot(environment, record);
  return freed;
}

function release(environment: Environment, kind: ContentKind, digest: Digest, holder: Buffer): number {
  environment.tree("heldBy").remove(Buffer.concat([contentPrefix(kind, digest), holder]));
  if (isHeld(environment, kind, digest)) return 0;
  if (kind === "manifest") return removeManifest(environment, digest);
  if (kind === "object") return removeObject(environment, digest);
  return removeValue(environment, contentTrees[kind], digest);
}

function removeManifest(environment: Environment, digest: Digest): number {
  const key = digestKey(digest);
  const images = environment.tree("images");
  const image = soundRecordAt<ImageRecord>(environment, "images", key);
  const isIncomplete = environment.tree("quarantine").has(incompleteKey(digest));
  const isDamaged = image === undefined && images.has(key);
  let freed = removeValue(environment, "manifests", digest);
  environment.tree("usage").remove(key);
  for (const root of environment.tree("roots").keys(key)) environment.tree("roots").remove(root);
  environment.tree("quarantine").remove(incompleteKey(digest));
  images.remove(key);
  if (isIncomplete || isDamaged) return freed + releaseHolder(environment, key);
  if (image === undefined) return freed;
  const { config, layers, objects } = image;
  freed += release(environment, "config", config.digest, key);
  for (const layer of layers) freed += release(environment, "layer", layer.digest, key);
  for (const object of objects) freed += release(environment, "object", object.digest, key);
  return freed;
}

function removeObject(environment: Environment, digest: Digest): number {
  const key = digestKey(digest);
  removeIndexesOf(environment, digest);
  environment.tree("objectInfo").remove(key);
  return removeValue(environment, "objects", digest);
}

/** Only inside `commit`, while the object's record is still there. */
export function removeIndexesOf(environment: Environment, object: Digest): void {
  const facts = soundRecordAt<ObjectRecord>(environment, "objectInfo", digestKey(object));
  if (facts === undefined) {
    // What names it is no longer known: rare enough to look through all of them.
    for (const index of ["byProgram", "byMap"] as const) {
      const rows = environment.tree(index).keys();
      for (const row of rows) if (objectOfName(row) === object) environment.tree(index).remove(row);
    }
    return;
  }
  for (const { name } of facts.programs) environment.tree("byProgram").remove(nameKey(name, object));
  for (const { name } of facts.maps) environment.tree("byMap").remove(nameKey(name, object));
}

/**
 * What an image has kept from when it was whole stays held in its name, though the row in images that would say so
 * is gone. This row tells that it has to be looked for when the image is removed. Only inside `commit`.
 */
export function markIncomplete(environment: Environment, manifest: Digest): void {
  environment.tree("images").remove(digestKey(manifest));
  environment.tree("quarantine").put(incompleteKey(manifest), present);
}

/** Only inside `commit`. */
export function markComplete(environment: Environment, manifest: Digest): void {
  environment.tree("quarantine").remove(incompleteKey(manifest));
}

export function isMarkedIncomplete(environment: Environment, manifest: Digest): boolean {
  return environment.tree("quarantine").has(incompleteKey(manifest));
}

function incompleteKey(manifest: Digest): Buffer {
  return Buffer.concat([Buffer.from("image\0"), digestKey(manifest)]);
}

/** Lets go of all that a holder holds, whose own record does not say any more what that is. Only inside `commit`. */
export function releaseHolder(environment: Environment, holder: Buffer): number {
  let freed = 0;
  for (const row of environment.tree("heldBy").keys()) {
    const { kind, digest, holder: found } = readHolderKey(row);
    if (found.equals(holder) && kind !== undefined) freed += release(environment, kind, digest, holder);
  }
  return freed;
}

/** A row of the tree heldBy. Throws CACHE_CORRUPT when it is none. */
export function readHolderKey(row: Buffer): {
  kind: ContentKind | undefined;
  digest: Digest;
  holder: Buffer;
} {
  const kind = (Object.keys(kindByte) as ContentKind[]).find((each) => kindByte[each] === row[0]);
  const { digest, end } = readDigestKey(row, 1);
  return { kind, digest, holder: row.subarray(end) };
}

/** Only inside `commit`. */
export function removeHolders(environment: Environment, kind: ContentKind, digest: Digest): void {
  for (const row of environment.tree("heldBy").keys(contentPrefix(kind, digest)))
    environment.tree("heldBy").remove(row);
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

/** A root that other platforms still hold must not go on naming a manifest that has just gone. */
function forgetChildOfRoot(environment: Environment, record: RefRecord): void {
  const manifest = manifestDigestOf(record);
  if (isHeld(environment, "manifest", manifest)) return;
  const roots = environment.tree("roots");
  for (const key of roots.keys(digestKey(rootDigestOf(record)))) {
    const root = soundRecordAt<RootRecord>(environment, "roots", key);
    if (root === undefined || manifestDigestOf(root) === manifest) roots.remove(key);
  }
}

/** The digest of a holder that is a manifest. */
export function manifestOfHolder(holder: Buffer): Digest {
  return readDigestKey(holder).digest;
}
