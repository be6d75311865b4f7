import type { Digest } from "../../core/digest.js";
import { soundRecordAt } from "../damaged-row.js";
import type { Environment } from "../environment.js";
import { type ContentKind, contentPrefix, contentTrees, hold, isHeld, isHeldBy } from "../holders.js";
import { digestKey, readDigestKey, rootKey } from "../keys.js";
import { dropDamaged } from "../quarantine.js";
import {
  type ImageRecord,
  manifestDigestOf,
  type ObjectRecord,
  type RefRecord,
  type RootRecord,
  rootDigestOf,
} from "../records.js";
import { decodeManifest, encodeRecord } from "../values.js";
import type { Fault, RowCheck } from "./fault.js";
import { isTrueHolding } from "./holdings.js";

/** From every reference through its manifests and its image to every object: all of it is here and held. */
export const closureChecks: readonly RowCheck[] = [
  { tree: "refs", faultOf: faultOfReference },
  { tree: "images", faultOf: faultOfImage },
  { tree: "objectInfo", faultOf: faultOfObject },
];

function faultOfObject(environment: Environment, key: Buffer): Fault | undefined {
  const facts = soundRecordAt<ObjectRecord>(environment, "objectInfo", key);
  if (facts === undefined) return undefined;
  const size = environment.tree("objects").view(key)?.length;
  if (size === undefined || size === facts.size) return undefined;
  const reason = `the object's record says ${facts.size} bytes, it has ${size}`;
  return { reason, mend: () => dropDamaged(environment, "objects", key, reason) };
}

function faultOfImage(environment: Environment, key: Buffer): Fault | undefined {
  const image = soundRecordAt<ImageRecord>(environment, "images", key);
  // One that nobody holds is not to be completed but to go.
  if (image === undefined || !isHeld(environment, "manifest", readDigestKey(key).digest)) return undefined;
  const text = manifestText(environment, key);
  const stranger = [image.config, ...image.layers].find(({ digest }) => text?.includes(digest) === false);
  if (stranger !== undefined) {
    const reason = `the record of an image names ${stranger.digest}, its manifest does not`;
    return { reason, mend: () => dropDamaged(environment, "images", key, reason) };
  }
  const needs: [ContentKind, Digest][] = [
    ["config", image.config.digest],
    ...image.layers
      .filter(({ digest }) => !isDropped(environment, digest, key))
      .map(({ digest }): [ContentKind, Digest] => ["layer", digest]),
    ...image.objects.map(({ digest }): [ContentKind, Digest] => ["object", digest]),
  ];
  for (const [kind, digest] of needs) {
    const fault = faultOfNeed(environment, kind, digest, key);
    if (fault !== undefined) return fault;
  }
  const bare = image.objects.find(({ digest }) => !environment.tree("objectInfo").has(digestKey(digest)));
  if (bare === undefined) return undefined;
  const reason = `what is known of the object ${bare.digest} is missing`;
  return { reason, mend: () => dropDamaged(environment, "objects", digestKey(bare.digest), reason) };
}

/** A layer that is dropped goes, and with it all that says it is needed: see dropLayerBatches. Others may bring it back for themselves. */
function isDropped(environment: Environment, layer: Digest, image: Buffer): boolean {
  if (isHeldBy(environment, "layer", layer, image)) return false;
  const isHere = environment.tree("layers").finds(digestKey(layer));
  const holdings = environment.tree("heldBy").keys(contentPrefix("layer", layer));
  return !isHere || holdings.some((row) => isTrueHolding(environment, row));
}

function faultOfReference(environment: Environment, key: Buffer): Fault | undefined {
  const record = soundRecordAt<RefRecord>(environment, "refs", key);
  if (record === undefined) return undefined;
  for (const digest of record.chain) {
    const fault = faultOfNeed(environment, "manifest", digest, key);
    if (fault !== undefined) return fault;
  }
  for (const [index, child] of record.chain.slice(1).entries()) {
    const parent = record.chain[index];
    if (parent === undefined || manifestText(environment, digestKey(parent))?.includes(child) !== false)
      continue;
    const reason = `${parent} does not name ${child}`;
    return { reason, mend: () => dropDamaged(environment, "manifests", digestKey(parent), reason) };
  }
  return faultOfImageRow(environment, key, record) ?? faultOfRootRow(environment, record);
}

function faultOfImageRow(environment: Environment, key: Buffer, record: RefRecord): Fault | undefined {
  const manifest = digestKey(manifestDigestOf(record));
  if (!environment.tree("images").has(manifest)) {
    const reason = "parts of the image were found damaged and are missing";
    return { reason, mend: () => dropDamaged(environment, "images", manifest, reason) };
  }
  const image = soundRecordAt<ImageRecord>(environment, "images", manifest);
  if (image === undefined || JSON.stringify(image.objects) === JSON.stringify(record.objects))
    return undefined;
  const mend = (): void =>
    environment.tree("refs").put(key, encodeRecord({ ...record, objects: image.objects }));
  return { reason: "the objects of the reference are not those of its image", mend };
}

function faultOfRootRow(environment: Environment, record: RefRecord): Fault | undefined {
  const { platform, chain, objects, platforms } = record;
  const key = rootKey(rootDigestOf(record), platform);
  const root = soundRecordAt<RootRecord>(environment, "roots", key);
  if (root !== undefined && JSON.stringify(root.chain) === JSON.stringify(chain)) return undefined;
  if (root === undefined && environment.tree("roots").has(key)) return undefined; // Found with the records.
  const mend = (): void =>
    environment.tree("roots").put(key, encodeRecord({ platform, chain, objects, platforms }));
  return { reason: `its root has no right row in roots for ${platform}`, mend };
}

function faultOfNeed(
  environment: Environment,
  kind: ContentKind,
  digest: Digest,
  holder: Buffer,
): Fault | undefined {
  const key = digestKey(digest);
  if (!environment.tree(contentTrees[kind]).finds(key)) {
    const reason = `the ${kind} ${digest} is missing`;
    return { reason, mend: () => dropDamaged(environment, contentTrees[kind], key, reason) };
  }
  if (isHeldBy(environment, kind, digest, holder)) return undefined;
  return {
    reason: `nothing says that the ${kind} ${digest} is needed`,
    mend: () => hold(environment, kind, digest, holder),
  };
}

function manifestText(environment: Environment, key: Buffer): string | undefined {
  const row = environment.tree("manifests").get(key);
  try {
    return row && decodeManifest(row).bytes.toString();
  } catch {
    return undefined; // Damaged, and found with the content.
  }
}
