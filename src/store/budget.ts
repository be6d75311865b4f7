import { statfsSync } from "node:fs";
import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { ages } from "./clock.js";
import { contentBytes } from "./content-bytes.js";
import type { Environment } from "./environment.js";
import { type Eviction, evictAll, type Removed } from "./evict.js";
import { removeReference } from "./holders.js";
import { rehearse } from "./rehearse.js";
import { useBucketMs } from "./usage.js";

/** How much the content of a cache may take. */
export interface Budget {
  readonly maxBytes: number;
  /** A publication that passes this has others evicted, … */
  readonly highBytes: number;
  /** … down to this, so that not each of the next ones must evict again. */
  readonly lowBytes: number;
  /** What was used or pulled so recently is not evicted. */
  readonly graceMs: number;
}

const highMark = 0.9;
const lowMark = 0.75;
const defaultGraceMs = 60_000;

/** LMDB writes changed pages beside the old ones, removals too: with a full disk not even those succeed. */
const reserveBytes = 64 * 1024 * 1024;
/** The reserve on a disk too small for that one. */
const reserveShare = 0.05;

/** Throws USAGE. */
export function budgetOf(maxBytes: number | undefined, graceMs = defaultGraceMs): Budget | undefined {
  if (maxBytes === undefined) return undefined;
  if (!Number.isSafeInteger(maxBytes) || maxBytes < 0) {
    throw new BpfcacheError("USAGE", `${maxBytes} is not a number of bytes that a cache can be kept to`);
  }
  const [highBytes, lowBytes] = [Math.floor(maxBytes * highMark), Math.floor(maxBytes * lowMark)];
  return { maxBytes, highBytes, lowBytes, graceMs };
}

/**
 * Evicts when the transaction has brought the content from `before` bytes to above the high mark. Throws CACHE_FULL,
 * and so undoes the transaction, when all that may go is not enough. Only inside `commit`.
 */
export function keepWithin(
  environment: Environment,
  budget: Budget | undefined,
  { before, except }: { readonly before: number; readonly except: Digest },
): Removed[] {
  const total = contentBytes(environment);
  if (budget === undefined || total <= before || total <= budget.highBytes) return [];
  const removed = evictAll(environment, evictionFor(environment, budget, 0, except));
  if (contentBytes(environment) > budget.maxBytes)
    throw overBudget(budget, total - before, total - contentBytes(environment));
  return removed;
}

/**
 * Throws CACHE_FULL when so many bytes more can have no room, under the budget or on the disk: before they are
 * fetched. What the row `replaced` of refs means now goes when they come. Nothing is evicted yet.
 */
export function requireRoom(
  environment: Environment,
  budget: Budget | undefined,
  bytes: number,
  replaced: Buffer | undefined,
): void {
  requireDiskSpace(environment, bytes);
  if (budget === undefined || contentBytes(environment) + bytes <= budget.highBytes) return;
  const evictable = rehearse(environment, () => {
    const before = contentBytes(environment);
    if (replaced !== undefined && environment.tree("refs").has(replaced))
      removeReference(environment, replaced);
    evictAll(environment, evictionFor(environment, budget, bytes, undefined));
    const after = contentBytes(environment);
    return { bytes: before - after, isEnough: after + bytes <= budget.maxBytes };
  });
  if (!evictable.isEnough) throw overBudget(budget, bytes, evictable.bytes);
}

function evictionFor(
  environment: Environment,
  budget: Budget,
  coming: number,
  except: Digest | undefined,
): Eviction {
  // A use may be noted up to a bucket before the last one of it.
  const guardedMs = budget.graceMs > 0 ? budget.graceMs + useBucketMs : 0;
  const { ageOf } = ages(environment);
  return {
    reason: "size",
    // A clock that was set back leaves uses in the future. They protect nothing until it has come.
    isOld: (usedAt) => guardedMs === 0 || Math.abs(ageOf(usedAt)) >= guardedMs,
    endsWithYoung: false,
    isEnough: () => contentBytes(environment) + coming <= budget.lowBytes,
    except,
  };
}

function overBudget({ maxBytes }: Budget, bytes: number, evictable: number): BpfcacheError {
  return new BpfcacheError(
    "CACHE_FULL",
    `${bytes} bytes more do not fit into the ${maxBytes} that the cache may have; ${evictable} of what is there may be evicted`,
    { hint: "Raise --max-size, unpin or remove images, or wait until those just used may be evicted." },
  );
}

function requireDiskSpace(environment: Environment, bytes: number): void {
  const { bavail, blocks, bsize } = statfsSync(environment.directory);
  const reserve = Math.min(reserveBytes, Math.floor(blocks * bsize * reserveShare));
  const free = bavail * bsize;
  if (free >= bytes + reserve) return;
  const reusable = environment.space().freeBytes;
  if (free + reusable >= bytes + reserve) return;
  throw new BpfcacheError(
    "CACHE_FULL",
    `${bytes} bytes and ${reserve} in reserve are needed; the disk of ${environment.directory} has ${free} left, the database ${reusable}`,
    { hint: "Free some space, or remove images with bpfcache prune. What is cached stays readable." },
  );
}
