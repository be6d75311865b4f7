import { DamagedRow, recordAt } from "../damaged-row.js";
import type { Environment } from "../environment.js";
import { isMarkedIncomplete } from "../holders.js";
import { readDigestKey, referenceKey, referrerKey, rootKey, verdictKey } from "../keys.js";
import { dropDamaged } from "../quarantine.js";
import {
  type ReferrerRecord,
  type RefRecord,
  type RootRecord,
  rootDigestOf,
  type VerdictRecord,
} from "../records.js";
import type { TreeName } from "../trees.js";
import { pinnedReference } from "../usage.js";
import { areSoundBytes } from "../values.js";
import type { Fault, RowCheck } from "./fault.js";

/** Every record is what its checksum says, under the key that it says of itself. */
export const recordChecks: readonly RowCheck[] = [
  recordCheck("refs", ({ reference, platform }: RefRecord) => referenceKey(reference, platform)),
  recordCheck("roots", (root: RootRecord) => rootKey(rootDigestOf(root), root.platform)),
  recordCheck("images"),
  recordCheck("objectInfo"),
  recordCheck("hosts"),
  recordCheck("verdicts", ({ root, policy, rule }: VerdictRecord) => verdictKey(root, policy, rule)),
  recordCheck("referrers", ({ subject, artifactType, digest }: ReferrerRecord) =>
    referrerKey(subject, artifactType, digest),
  ),
  bytesCheck("pending"),
  bytesCheck("programs"),
  bytesCheck("trees"),
  {
    tree: "usage",
    faultOf: (environment, key) =>
      pinnedReference(key) === undefined ? undefined : faultOfRecord(environment, "usage", key),
  },
];

function recordCheck<T>(tree: TreeName, keyOf?: (record: T) => Buffer): RowCheck {
  return { tree, faultOf: (environment, key) => faultOfRecord(environment, tree, key, keyOf) };
}

/** Of values that nothing brings back: what is damaged goes, and is noted. */
function bytesCheck(tree: TreeName): RowCheck {
  return {
    tree,
    faultOf: (environment, key) => {
      const value = environment.tree(tree).get(key);
      if (value === undefined || areSoundBytes(value)) return undefined;
      const reason = `a value in the tree ${tree} is damaged`;
      return { reason, mend: () => dropDamaged(environment, tree, key, reason) };
    },
  };
}

function faultOfRecord<T>(
  environment: Environment,
  tree: TreeName,
  key: Buffer,
  keyOf?: (record: T) => Buffer,
): Fault | undefined {
  try {
    const record = recordAt<T>(environment, tree, key);
    if (record === undefined || keyOf === undefined || keyOf(record).equals(key)) return undefined;
    const reason = `a record in the tree ${tree} is not under its own key`;
    return { reason, mend: () => moveRow(environment, tree, key, keyOf(record)) };
  } catch (error) {
    if (!(error instanceof DamagedRow)) throw error;
    return { reason: error.message, mend: () => dropDamaged(environment, tree, key, error.message) };
  }
}

/** To where it belongs, unless there is one. */
function moveRow(environment: Environment, tree: TreeName, from: Buffer, to: Buffer): void {
  const rows = environment.tree(tree);
  const value = rows.get(from);
  rows.remove(from);
  if (value !== undefined && !rows.has(to)) rows.put(to, value);
}

/** Whether the record in images that would tell what a manifest holds is missing on purpose or cannot be read. */
export function isImageUnknown(environment: Environment, manifest: Buffer): boolean {
  const { digest } = readDigestKey(manifest);
  if (isMarkedIncomplete(environment, digest)) return true;
  try {
    recordAt(environment, "images", manifest);
    return false;
  } catch (error) {
    if (error instanceof DamagedRow) return true;
    throw error;
  }
}
