import type { Digest } from "../core/digest.js";
import { soundRecordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { holdersOf, removeReference } from "./holders.js";
import { isProtected } from "./protection.js";
import type { RefRecord } from "./records.js";
import { leastRecentlyUsed } from "./usage.js";

/**
 * Why something was removed: `size` least recently used when room was needed, `age` not used for longer than asked,
 * `keep-last` newer ones of its repository stay, `layers` only to be had again, `unreferenced` nothing needs it.
 */
export type RemovalReason = "size" | "age" | "keep-last" | "layers" | "unreferenced";

/** What was removed: a reference on a platform, or content by its digest. */
export interface Removed {
  readonly reference?: string;
  readonly platform?: string;
  readonly digest?: Digest;
  /** What it freed when it was removed, after those before it. */
  readonly bytes: number;
  readonly reason: RemovalReason;
}

/** A part of the work that is one transaction. */
export type Batch = () => readonly Removed[];

/** Runs what only reads, on one state of the database. */
export type Read = <T>(read: () => T) => T;

export interface Eviction {
  readonly reason: RemovalReason;
  /** Whether an image with this last use, in milliseconds since 1970, may go. */
  readonly isOld: (usedAt: number) => boolean;
  /** Whether all that were used later than one that may not go may not go either. */
  readonly endsWithYoung: boolean;
  /** Asked before each image. */
  readonly isEnough: (environment: Environment) => boolean;
  /** An image that stays, however long ago it was used. */
  readonly except?: Digest | undefined;
}

export interface EvictionBatch {
  readonly removed: readonly Removed[];
  /** Where to go on; undefined when there is no more to do. */
  readonly position: Buffer | undefined;
}

const imagesPerBatch = 64;

/**
 * Removes images from the least recently used on, looking at no more than a batch of them: what it costs is what it
 * removes, and the protected images it passes by. Only inside `commit`.
 */
export function evictBatch(environment: Environment, eviction: Eviction, after?: Buffer): EvictionBatch {
  const removed: Removed[] = [];
  const oldest = leastRecentlyUsed(environment, after, imagesPerBatch);
  for (const { manifest, usedAt } of oldest) {
    const isOld = eviction.isOld(usedAt);
    if (eviction.isEnough(environment) || (!isOld && eviction.endsWithYoung))
      return { removed, position: undefined };
    if (isOld && manifest !== eviction.except)
      removed.push(...evictImage(environment, manifest, eviction.reason));
  }
  return { removed, position: oldest.length < imagesPerBatch ? undefined : oldest.at(-1)?.position };
}

/** As `evictBatch`, as many batches as it takes: for where all must happen in one transaction. */
export function evictAll(environment: Environment, eviction: Eviction): Removed[] {
  const removed: Removed[] = [];
  let position: Buffer | undefined;
  do {
    const batch = evictBatch(environment, eviction, position);
    removed.push(...batch.removed);
    position = batch.position;
  } while (position !== undefined);
  return removed;
}

/** All references of an image, or none of them when one must stay: the others alone would free nothing. */
function evictImage(environment: Environment, manifest: Digest, reason: RemovalReason): Removed[] {
  const references = referenceRowsOf(environment, manifest);
  if (references.some(({ record }) => isProtected(environment, record))) return [];
  return references.map(({ key, record }) => ({
    reference: record.reference,
    platform: record.platform,
    bytes: removeReference(environment, key),
    reason,
  }));
}

export interface ReferenceRow {
  readonly key: Buffer;
  readonly record: RefRecord;
}

export function referenceRowsOf(environment: Environment, manifest: Digest): ReferenceRow[] {
  return holdersOf(environment, "manifest", manifest).flatMap((key) => {
    const record = soundRecordAt<RefRecord>(environment, "refs", key);
    return record === undefined ? [] : [{ key, record }];
  });
}
