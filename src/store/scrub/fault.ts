import type { Environment } from "../environment.js";
import type { TreeName } from "../trees.js";

/** Something wrong with one row, and how it is put right inside `commit`. */
export interface Fault {
  readonly reason: string;
  /** Writes or removes rows so that the database contradicts itself no more; content may have to be brought back after it. */
  readonly mend: () => void;
}

/**
 * What is wrong with one row, asked in the current snapshot, and asked again before anything is reported or changed:
 * a row may come and go while a walk is under way.
 */
export interface RowCheck {
  readonly tree: TreeName;
  /** Adds to `meter` the bytes it had to hash. */
  faultOf(environment: Environment, key: Buffer, meter?: Meter): Fault | undefined;
}

export interface Meter {
  bytes: number;
}
