import { soundRecordAt } from "../damaged-row.js";
import type { Environment } from "../environment.js";
import { type ContentKind, isHeld, isHeldBy, releaseReferrer } from "../holders.js";
import { digestKey, nameKey, objectOfName, referencePrefix, subjectHolder } from "../keys.js";
import { manifestDigestOf, type ObjectRecord, type ReferrerRecord, type RootRecord } from "../records.js";
import type { TreeName } from "../trees.js";
import { pinnedReference } from "../usage.js";
import type { Fault, RowCheck } from "./fault.js";
import { isTrueHolding } from "./holdings.js";
import { isImageUnknown } from "./records.js";
import { digestIn } from "./well-formed.js";

/**
 * Every row that another one calls for is here, and no row that nothing calls for. From the holders down: what goes
 * takes the next with it.
 */
export const indexChecks: readonly RowCheck[] = [
  { tree: "heldBy", faultOf: faultOfHolder },
  needCheck("images", "manifest"),
  needCheck("manifests", "manifest"),
  // Once more, for what images held that have just gone.
  { tree: "heldBy", faultOf: faultOfHolder },
  needCheck("configs", "config"),
  needCheck("layers", "layer"),
  needCheck("objects", "object"),
  needCheck("objectInfo", "object"),
  { tree: "objectInfo", faultOf: faultOfNames },
  nameCheck("byProgram"),
  nameCheck("byMap"),
  { tree: "roots", faultOf: faultOfRoot },
  { tree: "usage", faultOf: faultOfUsage },
  { tree: "referrers", faultOf: faultOfReferrer },
  needCheck("verdicts", "manifest"),
];

function unneeded(environment: Environment, tree: TreeName, key: Buffer): Fault {
  return {
    reason: `nothing needs a row in the tree ${tree}`,
    mend: () => environment.tree(tree).remove(key),
  };
}

/** Content, and what is known of it, that nobody holds. */
function needCheck(tree: TreeName, kind: ContentKind): RowCheck {
  return {
    tree,
    faultOf: (environment, key) => {
      const digest = digestIn(key);
      const isNeeded = digest !== undefined && isHeld(environment, kind, digest);
      return isNeeded || !environment.tree(tree).finds(key) ? undefined : unneeded(environment, tree, key);
    },
  };
}

function faultOfHolder(environment: Environment, key: Buffer): Fault | undefined {
  if (!environment.tree("heldBy").has(key) || isTrueHolding(environment, key)) return undefined;
  return unneeded(environment, "heldBy", key);
}

/** An object is found by each of its programs and maps. */
function faultOfNames(environment: Environment, key: Buffer): Fault | undefined {
  const facts = soundRecordAt<ObjectRecord>(environment, "objectInfo", key);
  const digest = digestIn(key);
  if (facts === undefined || digest === undefined) return undefined;
  const rows = [
    ...facts.programs.map(({ name }) => ({ tree: "byProgram" as const, key: nameKey(name, digest) })),
    ...facts.maps.map(({ name }) => ({ tree: "byMap" as const, key: nameKey(name, digest) })),
  ];
  const missing = rows.filter((row) => !environment.tree(row.tree).has(row.key));
  if (missing.length === 0) return undefined;
  const mend = (): void => {
    for (const row of missing) environment.tree(row.tree).put(row.key, Buffer.of(1));
  };
  return { reason: `the object ${digest} is not found by all its programs and maps`, mend };
}

function nameCheck(tree: "byProgram" | "byMap"): RowCheck {
  const namesOf = ({ programs, maps }: ObjectRecord): readonly { name: string }[] =>
    tree === "byProgram" ? programs : maps;
  return {
    tree,
    faultOf: (environment, key) => {
      const object = objectOfName(key);
      const facts = object && soundRecordAt<ObjectRecord>(environment, "objectInfo", digestKey(object));
      const isRight =
        object !== undefined &&
        (facts === undefined
          ? environment.tree("objectInfo").has(digestKey(object))
          : namesOf(facts).some(({ name }) => nameKey(name, object).equals(key)));
      return isRight || !environment.tree(tree).has(key) ? undefined : unneeded(environment, tree, key);
    },
  };
}

/** A root's row may outlive the reference it came with, as long as all it leads to is here. */
function faultOfRoot(environment: Environment, key: Buffer): Fault | undefined {
  const root = soundRecordAt<RootRecord>(environment, "roots", key);
  if (root === undefined) return undefined;
  const manifest = digestKey(manifestDigestOf(root));
  const leads =
    root.chain.every((digest) => isHeld(environment, "manifest", digest)) &&
    (environment.tree("images").has(manifest) || isImageUnknown(environment, manifest));
  return leads ? undefined : unneeded(environment, "roots", key);
}

/** Times of use are of images that are here, pins of references that are here. */
function faultOfUsage(environment: Environment, key: Buffer): Fault | undefined {
  if (!environment.tree("usage").has(key)) return undefined;
  const pinned = pinnedReference(key);
  const digest = digestIn(key);
  const isStale =
    pinned !== undefined
      ? !environment.tree("refs").hasPrefix(referencePrefix(pinned))
      : digest !== undefined && !isHeld(environment, "manifest", digest);
  return isStale ? unneeded(environment, "usage", key) : undefined;
}

/** Its subject is here, and so is all of it; else it goes, and the next pull that keeps referrers fetches it again. */
function faultOfReferrer(environment: Environment, key: Buffer): Fault | undefined {
  const subject = digestIn(key);
  if (!environment.tree("referrers").has(key)) return undefined;
  if (subject === undefined || !isHeld(environment, "manifest", subject))
    return unneeded(environment, "referrers", key);
  const record = soundRecordAt<ReferrerRecord>(environment, "referrers", key);
  if (record === undefined) return unneeded(environment, "referrers", key);
  const isWhole =
    isHeldBy(environment, "manifest", record.digest, subjectHolder(subject)) &&
    record.blobs.every(({ kind, digest }) => isHeldBy(environment, kind, digest, digestKey(record.digest)));
  if (isWhole) return undefined;
  const reason = `of ${record.digest}, which refers to ${subject}, not all is here`;
  return { reason, mend: () => void releaseReferrer(environment, record) };
}
