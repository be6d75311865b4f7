import { BpfcacheError } from "../core/errors.js";
import type { Environment } from "./environment.js";
import type { TreeName } from "./trees.js";
import { decodeRecord } from "./values.js";

/** What every report of damage tells the user to do. */
export const repairHint = "Repair the cache with bpfcache scrub --repair, or pull the image again.";

/** One row of the database is not what it must be. Whoever may write then puts it into quarantine. */
export class DamagedRow extends BpfcacheError {
  constructor(
    readonly tree: TreeName,
    readonly key: Buffer,
    message: string,
    details: {
      readonly reference?: string | undefined;
      readonly expected?: string | undefined;
      readonly found?: string | undefined;
    } = {},
  ) {
    super("CACHE_CORRUPT", message, { ...details, hint: repairHint });
  }

  override about(reference: string): DamagedRow {
    if (this.reference !== undefined) return this;
    const { expected, found } = this;
    return new DamagedRow(this.tree, this.key, this.message, { reference, expected, found });
  }
}

/** The record of a row, or undefined when there is none. Throws CACHE_CORRUPT, as a DamagedRow. */
export function recordAt<T>(environment: Environment, tree: TreeName, key: Buffer): T | undefined {
  // Decoding is done with the view before anything else is read, and saves a copy of each record of a long list.
  const row = environment.tree(tree).view(key);
  return row === undefined ? undefined : decodeRow<T>(tree, key, row);
}

export function decodeRow<T>(tree: TreeName, key: Buffer, row: Buffer): T {
  try {
    return decodeRecord<T>(row);
  } catch (error) {
    if (!(error instanceof BpfcacheError)) throw error;
    throw new DamagedRow(tree, key, `a record in the tree ${tree} is damaged`);
  }
}

/** The record of a row, or undefined when there is none or it is damaged. */
export function soundRecordAt<T>(environment: Environment, tree: TreeName, key: Buffer): T | undefined {
  try {
    return recordAt<T>(environment, tree, key);
  } catch (error) {
    if (error instanceof DamagedRow) return undefined;
    throw error;
  }
}
