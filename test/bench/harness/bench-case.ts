import type { Peers } from "./peers.js";
import type { Ratio, Samples } from "./samples.js";

/** One row of the table: contestants, what was measured of each, and whether the goal was met. */
export interface BenchCase {
  readonly name: string;
  readonly title: string;
  run(context: BenchContext): Promise<CaseResult>;
}

export interface BenchContext {
  /** Fewer rounds and smaller sets, for a look; the goals are judged all the same. */
  readonly isQuick: boolean;
  readonly peers: Peers;
  /** A directory of this case's own, removed afterwards. */
  readonly directory: string;
  /** Says what is going on. */
  log(message: string): void;
}

export interface CaseResult {
  readonly tables: readonly Table[];
  readonly goals: readonly Goal[];
  /** What a reader must know to judge the figures, as sentences. */
  readonly notes?: readonly string[];
}

export interface Table {
  readonly title: string;
  readonly unit: string;
  readonly rows: readonly Samples[];
}

export interface Goal {
  readonly text: string;
  /** `≥ 5`, say. */
  readonly wanted: string;
  readonly found: Ratio;
  readonly isMet: boolean;
}

/** That a ratio is as great as wanted. */
export function atLeast(text: string, wanted: number, found: Ratio | number): Goal {
  const both = asRatio(found);
  return { text, wanted: `≥ ${wanted}`, found: both, isMet: both.ofMedians >= wanted };
}

/** That it is no greater. */
export function atMost(text: string, wanted: number, found: Ratio | number): Goal {
  const both = asRatio(found);
  return { text, wanted: `≤ ${wanted}`, found: both, isMet: both.ofMedians <= wanted };
}

function asRatio(found: Ratio | number): Ratio {
  return typeof found === "number" ? { ofMedians: found, ofLeast: found } : found;
}
