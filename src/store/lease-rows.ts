import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { monotonicMs } from "../core/monotonic.js";
import { livenessOf, type ProcessIdentity } from "../core/process-identity.js";
import type { Environment } from "./environment.js";
import { type ContentKind, contentPrefix } from "./holders.js";
import { referenceKey } from "./keys.js";
import { decodeRecord, encodeRecord } from "./values.js";

// Rows of the tree leases: zero and a reference key for a pull, or what heldBy's keys begin with (its first byte is
// the kind of content, from 1) for a download.

/** Who is fetching something, so that nobody else does. */
export interface LeaseRecord {
  readonly owner: LeaseOwner;
  /** Higher than that of every lease before it. Whoever comes back late sees by it that another has taken over. */
  readonly fence: number;
  /** The fence of the first of those who took it over from each other: another number says that one gave it back. */
  readonly firstFence: number;
  /** In milliseconds of the monotonic clock, which all processes of one boot share and nobody sets. */
  readonly deadlineMs: number;
}

export interface LeaseOwner {
  readonly process: ProcessIdentity;
  /** Drawn when the store was opened: a process may have a cache open twice. */
  readonly store: string;
}

const referenceByte = Buffer.of(0);
const fenceKey = Buffer.from("leaseFence");

/** The lease on finding out what a reference means on a platform, and on taking that in. */
export function referenceLeaseKey(reference: string, platform: string): Buffer {
  return Buffer.concat([referenceByte, referenceKey(reference, platform)]);
}

/** The lease on fetching what a digest names. */
export function contentLeaseKey(kind: ContentKind, digest: Digest): Buffer {
  return contentPrefix(kind, digest);
}

/** The lease as it stands, stale or not. A damaged row is none: it protects only downloads, and those are checked. */
export function findLease(environment: Environment, key: Buffer): LeaseRecord | undefined {
  return decodeLease(environment.tree("leases").get(key));
}

function decodeLease(row: Buffer | undefined): LeaseRecord | undefined {
  try {
    return row && decodeRecord<LeaseRecord>(row);
  } catch (error) {
    if (error instanceof BpfcacheError && error.code === "CACHE_CORRUPT") return undefined;
    throw error;
  }
}

export function putLease(environment: Environment, key: Buffer, lease: LeaseRecord): void {
  environment.tree("leases").put(key, encodeRecord(lease));
}

/** Only inside `commit`. */
export function nextFence(environment: Environment): number {
  const meta = environment.tree("meta");
  const fence = Number(meta.get(fenceKey)?.readBigUInt64BE() ?? 0n) + 1;
  const value = Buffer.alloc(8);
  value.writeBigUInt64BE(BigInt(fence));
  meta.put(fenceKey, value);
  return fence;
}

/** Stores that this process has closed. On a full disk they leave their leases behind, of an owner that is alive. */
const closedStores = new Set<string>();

export function noteClosed(store: string): void {
  closedStores.add(store);
}

/** How long after its deadline a lease is kept for an owner that is seen to be alive. */
const patienceMs = 20_000;

/**
 * Whether the lease may be taken over. The deadline is for an owner that cannot be seen, in another pid namespace. One
 * that is seen to be alive may be slow to renew it; but it may also have forgotten it, where the database is a copy, or
 * has fallen back to an older state.
 */
export function isStale({ owner, deadlineMs }: LeaseRecord): boolean {
  const liveness = livenessOf(owner.process);
  if (liveness === "dead" || closedStores.has(owner.store)) return true;
  return monotonicMs() > deadlineMs + (liveness === "alive" ? patienceMs : 0);
}

/** Whether somebody is pulling the reference for the platform, here or in another process, because it is not here. */
export function isLeased(environment: Environment, reference: string, platform: string): boolean {
  const lease = findLease(environment, referenceLeaseKey(reference, platform));
  return lease !== undefined && !isStale(lease);
}

/** Removes what dead processes have left behind. Only inside `commit`. */
export function sweepDeadLeases(environment: Environment): void {
  for (const key of deadLeases(environment)) environment.tree("leases").remove(key);
}

function deadLeases(environment: Environment): Buffer[] {
  return environment
    .tree("leases")
    .entries()
    .filter(({ value }) => {
      const lease = decodeLease(value);
      return lease === undefined || isStale(lease);
    })
    .map(({ key }) => key);
}
