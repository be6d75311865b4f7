import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { requireFreeSpace } from "./directory.js";
import { type FileIdentity, namesIn } from "./files.js";
import type { LostReference } from "./lost.js";
import { abandonedMarks, removeMarks } from "./open-marks.js";
import { discard, moveAside } from "./replace-files.js";
import { type Claim, claimReplacement } from "./replacement.js";
import { salvage } from "./salvage.js";

/** That a damaged environment was found and a new one begun. */
export interface Recovery {
  readonly fault: string;
  /** The directory that the damaged files are in now. */
  readonly movedTo: string;
  /** How many references could still be read; they are remembered for the next prefetch. */
  readonly references: number;
}

const asidePattern = /^damaged-[\dTZ-]+$/;

/** How many damaged environments are kept, for whoever wants to know what happened to them. */
const keptAside = 2;

/** What is put into a new environment. */
const firstBytes = 4 * 1024 * 1024;

/** Makes a new environment in the place of the one that is gone. */
export type Begin = (claim: Claim, lost: readonly LostReference[]) => void;

/**
 * Moves a damaged environment aside and begins a new one that remembers its references. Undefined when another process
 * was faster: what is there now is to be opened. Throws CACHE_FULL before anything is moved.
 */
export function startAnew(
  directory: string,
  examined: FileIdentity | undefined,
  fault: string,
  begin: Begin,
): Recovery | undefined {
  requireFreeSpace(directory, firstBytes, "another cache");
  const aside = `damaged-${new Date().toISOString().replace(/[:.]/g, "-")}`;
  const claim = claimReplacement(directory, { kind: "damaged", fault, aside });
  if (claim === undefined) return undefined;
  if (claim.plan.data === examined) return finishStartingAnew(directory, claim, begin);
  claim.release();
  return undefined;
}

/** All of it, or what a process that died has left to do: every step may be done again. */
export function finishStartingAnew(directory: string, claim: Claim, begin: Begin): Recovery {
  const { aside = "damaged", fault = "it is damaged" } = claim.plan;
  const movedTo = join(directory, aside);
  try {
    mkdirSync(movedTo, { recursive: true, mode: 0o700 });
    moveAside(directory, movedTo, claim.plan);
    const lost = salvage(movedTo);
    begin(claim, lost);
    removeMarks(directory, abandonedMarks(directory, "any"));
    for (const old of namesIn(directory)
      .filter((name) => asidePattern.test(name))
      .sort()
      .slice(0, -keptAside))
      discard(join(directory, old));
    claim.release();
    return { fault, movedTo, references: lost.length };
  } catch (error) {
    claim.abandon();
    throw error;
  }
}
