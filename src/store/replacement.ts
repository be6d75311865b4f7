import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { blockFor } from "../core/block-for.js";
import { BpfcacheError, codeOf } from "../core/errors.js";
import { dataFile, lockFile, makeDirectoryWithin } from "./directory.js";
import {
  dataIdentity,
  type FileIdentity,
  identityOf,
  namesIn,
  syncDirectory,
  temporaryName,
} from "./files.js";
import { damaged } from "./header.js";
import { ownerOf, ownName } from "./owner-name.js";

/**
 * How the files of an environment are replaced while other processes have it open.
 *
 * Who replaces them holds the claim: the directory `replacing`, in it one file named after the holder that says which
 * files were there when it began. Rules for everybody:
 *
 * - Nobody opens the environment while there is a claim, and who has opened it looks again whether there is one, or
 *   whether data.mdb is another file now, and if so opens again. LMDB opens its two files one after the other, and the
 *   lock file of one environment with the data of another would let writers overwrite what readers read.
 * - `Environment.commit` looks inside its transaction: with a claim, or another file in place, it rolls back, waits and
 *   writes into the new one. Once the holder has had the writer's lock itself, nothing is written any more that it does
 *   not know of.
 * - Readers look before a snapshot whether data.mdb is still the file they have open, unless they have just looked, and
 *   go on with it until the claim is gone: it is whole, and cannot change. Who has replaced it waits until every reader
 *   will look again, and lets others write into the new one only then.
 *
 * A holder that dies leaves the claim. The next process takes it over by renaming the file in it, which only one can,
 * and finishes or undoes what the identities in it show to have been done.
 */
export interface Claim {
  readonly plan: Plan;
  /** Ends the claim: everybody may open what is there now. Waits for `oldestLookMs` and more when that is another file. */
  release(): void;
  /** Leaves it to the next who comes by, this process included, as if its holder had died: what it began must be finished. */
  abandon(): void;
}

export interface Plan {
  readonly kind: "compact" | "damaged" | "migrate";
  /** The files as they were when the claim was made. */
  readonly data: FileIdentity | undefined;
  readonly lock: FileIdentity | undefined;
  /** For `damaged`: what is wrong, and the directory that the files go to. */
  readonly fault?: string;
  readonly aside?: string;
}

const claimName = "replacing";

/** The longest a process waits for another one's claim. A compaction holds it while it copies only as its last resort. */
const longestWaitMs = 60_000;
const pollMs = 5;

/** How long a reader may rely on having seen that data.mdb is the file it has open. */
export const oldestLookMs = 10;

/** Claims that this process could not end, on a disk that fails: nobody else sees that it has let go of them. */
const abandonedClaims = new Set<string>();

export function isClaimed(directory: string): boolean {
  return existsSync(join(directory, claimName));
}

/** Claims the right to replace the files; undefined when another process has it. */
export function claimReplacement(
  directory: string,
  plan: Pick<Plan, "kind" | "fault" | "aside">,
): Claim | undefined {
  const owner = ownName();
  const complete: Plan = {
    ...plan,
    data: dataIdentity(directory),
    lock: identityOf(join(directory, lockFile)),
  };
  const name = temporaryName(claimName, owner);
  const made = join(directory, name);
  makeDirectoryWithin(directory, name);
  try {
    writeFileSync(join(made, owner), JSON.stringify(complete), { flush: true });
    // A directory does not replace one with something in it: of many that try, one makes its claim.
    renameSync(made, join(directory, claimName));
  } catch (error) {
    rmSync(made, { recursive: true, force: true });
    if (isOneOf(error, "ENOTEMPTY", "EEXIST")) return undefined;
    throw error;
  }
  const claim = claimOf(directory, owner, complete);
  try {
    syncDirectory(directory);
  } catch (error) {
    claim.abandon();
    throw error;
  }
  return claim;
}

function claimOf(directory: string, owner: string, plan: Plan): Claim {
  return {
    plan,
    release() {
      if (dataIdentity(directory) !== plan.data) blockFor(2 * oldestLookMs);
      const made = join(directory, temporaryName(claimName, owner));
      try {
        renameSync(join(directory, claimName), made);
      } catch (error) {
        abandonedClaims.add(owner);
        throw error;
      }
      syncDirectory(directory);
      rmSync(made, { recursive: true, force: true });
    },
    abandon() {
      abandonedClaims.add(owner);
    },
  };
}

/**
 * Waits until nobody replaces the files. A dead process's claim is taken over and handed to `finish`, which must release
 * it. Throws CACHE_BUSY when it takes too long or this user may not take it over, CACHE_CORRUPT when it is one that this
 * process is not to finish, for then it is about damage.
 */
export function waitForReplacement(
  directory: string,
  mayFinish: (plan: Plan) => boolean,
  finish: (claim: Claim) => void,
): void {
  const deadline = Date.now() + longestWaitMs;
  while (isClaimed(directory)) {
    const abandoned = takeOver(directory, mayFinish);
    if (abandoned !== undefined) finish(abandoned);
    else if (Date.now() > deadline) throw stillClaimed(directory);
    else blockFor(pollMs);
  }
}

function takeOver(directory: string, mayFinish: (plan: Plan) => boolean): Claim | undefined {
  const claim = join(directory, claimName);
  for (const name of namesIn(claim)) {
    if (ownerOf(name)?.liveness !== "dead" && !abandonedClaims.has(name)) continue;
    const owner = ownName();
    try {
      const plan = JSON.parse(readFileSync(join(claim, name), "utf8")) as Plan;
      if (!mayFinish(plan)) throw damaged(join(directory, dataFile), plan.fault ?? "it is being moved aside");
      renameSync(join(claim, name), join(claim, owner));
      abandonedClaims.delete(name);
      return claimOf(directory, owner, plan);
    } catch (error) {
      if (isOneOf(error, "ENOENT")) return undefined; // Another process was first.
      if (!isOneOf(error, "EACCES", "EPERM", "EROFS")) throw error;
      throw new BpfcacheError("CACHE_BUSY", `a process that replaced the files in ${directory} has died`, {
        cause: error,
        hint: "Open the cache once as the user that owns it, with any bpfcache command that writes.",
      });
    }
  }
  return undefined;
}

function stillClaimed(directory: string): BpfcacheError {
  return new BpfcacheError("CACHE_BUSY", `the files in ${directory} are being replaced by another process`, {
    hint: `Try again. If no process does that, of another container say, remove ${join(directory, claimName)}.`,
  });
}

function isOneOf(error: unknown, ...codes: readonly string[]): boolean {
  return codes.includes(String(codeOf(error)));
}
