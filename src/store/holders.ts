import type { Digest } from "../core/digest.js";
import { removeContent } from "./content-bytes.js";
import { soundRecordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import {
  digestKey,
  nameKey,
  objectOfName,
  readDigestKey,
  referrerKey,
  rootKey,
  subjectHolder,
  subjectMark,
  subjectOfHolder,
} from "./keys.js";
import { isProgramHolder } from "./program-keys.js";
import {
  type ImageRecord,
  type ObjectRecord,
  type ReferrerRecord,
  type RefRecord,
  rootDigestOf,
} from "./records.js";
import type { TreeName } from "./trees.js";
import { removeLastUse } from "./usage.js";

/**
 * Who needs what. The tree heldBy has a row (content, holder) for every need: a reference holds its root and its
 * manifest (and the indexes between them), a manifest holds its config, layers and objects, and the manifests that
 * refer to it; a program in the kernel holds the object it came from. What nobody holds any more is removed at once, in the transaction that let go of it, so the cost of a
 * removal is that of what it frees and never that of a walk through the cache.
 */
export type ContentKind = "manifest" | "config" | "layer" | "object";

type BlobKind = Exclude<ContentKind, "manifest">;

const kindByte: Readonly<Record<ContentKind, number>> = { manifest: 1, config: 2, layer: 3, object: 4 };
/** Where the bytes of each kind are. */
export const contentTrees = {
  manifest: "manifests",
  config: "configs",
  layer: "layers",
  object: "objects",
} as const satisfies Readonly<Record<ContentKind, TreeName>>;

/** What keys about this content begin with. */
export function contentPrefix(kind: ContentKind, digest: Digest): Buffer {
  return Buffer.concat([Buffer.of(kindByte[kind]), digestKey(digest)]);
}

/** Those of them that are manifests: loaded programs hold objects too. */
export function manifestsHolding(environment: Environment, kind: BlobKind, digest: Digest): Digest[] {
  return holdersOf(environment, kind, digest)
    .filter((holder) => !isProgramHolder(holder))
    .map(manifestOfHolder);
}

export function hold(environment: Environment, kind: ContentKind, digest: Digest, holder: Buffer): void {
  environment.tree("heldBy").put(Buffer.concat([contentPrefix(kind, digest), holder]), present);
}

const present = Buffer.of(1);

export function isHeldBy(
  environment: Environment,
  kind: ContentKind,
  digest: Digest,
  holder: Buffer,
): boolean {
  return environment.tree("heldBy").has(Buffer.concat([contentPrefix(kind, digest), holder]));
}

/** Whether the content is here: it is exactly when somebody holds it. */
export function isHeld(environment: Environment, kind: ContentKind, digest: Digest): boolean {
  return environment.tree("heldBy").hasPrefix(contentPrefix(kind, digest));
}

/** The holders of some content: for manifests reference keys and subjects, for the rest manifest digest keys and, for objects, programs. */
export function holdersOf(environment: Environment, kind: ContentKind, digest: Digest): Buffer[] {
  const prefix = contentPrefix(kind, digest);
  return environment
    .tree("heldBy")
    .keys(prefix)
    .map((key) => key.subarray(prefix.length));
}

/** The manifests that hold this one, because it refers to them. */
export function subjectsOf(environment: Environment, manifest: Digest): Digest[] {
  return holdersOf(environment, "manifest", manifest).flatMap((holder) => subjectOfHolder(holder) ?? []);
}

/** The keys of the references that hold a manifest. */
export function referencesTo(environment: Environment, manifest: Digest): Buffer[] {
  return holdersOf(environment, "manifest", manifest).filter(
    (holder) => subjectOfHolder(holder) === undefined,
  );
}

/** Removes a reference, also one whose record is damaged, with everything that only it held. Returns the bytes that were freed. Only inside `commit`. */
export function removeReference(environment: Environment, key: Buffer): number {
  const record = soundRecordAt<RefRecord>(environment, "refs", key);
  environment.tree("refs").remove(key);
  return record === undefined ? releaseHolder(environment, key) : releaseReference(environment, key, record);
}

/** Removes content whoever holds it. Returns the bytes that were freed. Only inside `commit`. */
export function removeFromAll(environment: Environment, kind: ContentKind, digest: Digest): number {
  for (const key of environment.tree("heldBy").keys(contentPrefix(kind, digest)))
    environment.tree("heldBy").remove(key);
  return remove(environment, kind, digest);
}

/** Lets go of everything a reference held. Returns the bytes that were freed. Only inside `commit`. */
export function releaseReference(environment: Environment, key: Buffer, record: RefRecord): number {
  let freed = 0;
  for (const digest of new Set(record.chain)) freed += release(environment, "manifest", digest, key);
  forgetRoot(environment, record);
  return freed;
}

/** Lets go of some content in the name of one holder. Returns the bytes that were freed. Only inside `commit`. */
export function release(environment: Environment, kind: ContentKind, digest: Digest, holder: Buffer): number {
  environment.tree("heldBy").remove(Buffer.concat([contentPrefix(kind, digest), holder]));
  if (!isHeld(environment, kind, digest)) return remove(environment, kind, digest);
  return kind === "manifest" && isOnlyReferrer(environment, digest) ? forgetImage(environment, digest) : 0;
}

function remove(environment: Environment, kind: ContentKind, digest: Digest): number {
  if (kind === "manifest") return removeManifest(environment, digest);
  if (kind === "object") return removeObject(environment, digest);
  return removeContent(environment, contentTrees[kind], digestKey(digest));
}

/** Whether only what it refers to still needs a manifest. That anything refers is rare, and cheap to rule out. */
function isOnlyReferrer(environment: Environment, manifest: Digest): boolean {
  const prefix = Buffer.concat([contentPrefix("manifest", manifest), subjectMark]);
  return environment.tree("heldBy").hasPrefix(prefix) && referencesTo(environment, manifest).length === 0;
}

function removeManifest(environment: Environment, digest: Digest): number {
  const key = digestKey(digest);
  const mustSearch = isMarkedIncomplete(environment, digest) || isDamagedImage(environment, digest);
  const image = imageOf(environment, digest);
  let freed = removeContent(environment, "manifests", key) + forgetImage(environment, digest);
  markComplete(environment, digest);
  if (mustSearch) freed += releaseHolder(environment, key);
  else if (image !== undefined) {
    freed += release(environment, "config", image.config.digest, key);
    for (const layer of image.layers) freed += release(environment, "layer", layer.digest, key);
  }
  for (const row of environment.tree("verdicts").keys(key)) environment.tree("verdicts").remove(row);
  for (const row of environment.tree("referrers").keys(key)) {
    const referrer = soundRecordAt<ReferrerRecord>(environment, "referrers", row);
    if (referrer === undefined) environment.tree("referrers").remove(row);
    else freed += releaseReferrer(environment, referrer);
  }
  return freed;
}

/** What a manifest is as an image; the manifest, its config and its layers stay for what else needs them. */
function forgetImage(environment: Environment, digest: Digest): number {
  const key = digestKey(digest);
  const image = imageOf(environment, digest);
  removeLastUse(environment, digest);
  for (const root of environment.tree("roots").keys(key)) environment.tree("roots").remove(root);
  environment.tree("images").remove(key);
  if (image === undefined) return 0;
  let freed = 0;
  for (const object of image.objects) freed += release(environment, "object", object.digest, key);
  return freed;
}

function imageOf(environment: Environment, manifest: Digest): ImageRecord | undefined {
  return soundRecordAt<ImageRecord>(environment, "images", digestKey(manifest));
}

function isDamagedImage(environment: Environment, manifest: Digest): boolean {
  return environment.tree("images").has(digestKey(manifest)) && imageOf(environment, manifest) === undefined;
}

/** Takes a referrer from its subject, with all that nothing else needs. Returns the bytes that were freed. Only inside `commit`. */
export function releaseReferrer(environment: Environment, record: ReferrerRecord): number {
  const { subject, artifactType, digest, blobs } = record;
  environment.tree("referrers").remove(referrerKey(subject, artifactType, digest));
  const freed = release(environment, "manifest", digest, subjectHolder(subject));
  if (isHeld(environment, "manifest", digest)) return freed;
  return blobs.reduce(
    (sum, blob) => sum + release(environment, blob.kind, blob.digest, digestKey(digest)),
    freed,
  );
}

function removeObject(environment: Environment, digest: Digest): number {
  const key = digestKey(digest);
  removeIndexesOf(environment, digest);
  environment.tree("objectInfo").remove(key);
  return removeContent(environment, "objects", key);
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

/**
 * A root that other platforms still hold must not go on leading to a manifest that nobody holds for its sake: that may
 * go at any time. Only inside `commit`, after the reference's own row has gone or changed.
 */
export function forgetRoot(environment: Environment, record: RefRecord): void {
  const root = rootDigestOf(record);
  const isStillMeant = holdersOf(environment, "manifest", root).some((holder) => {
    const other = soundRecordAt<RefRecord>(environment, "refs", holder);
    return other !== undefined && other.platform === record.platform && rootDigestOf(other) === root;
  });
  if (!isStillMeant) environment.tree("roots").remove(rootKey(root, record.platform));
}

/** The digest of a holder that is a manifest. */
export function manifestOfHolder(holder: Buffer): Digest {
  return readDigestKey(holder).digest;
}
