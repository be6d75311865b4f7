import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { BpfcacheError, throwIfAborted } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import { monotonicMs } from "../core/monotonic.js";
import { thisProcess } from "../core/process-identity.js";
import type { Environment } from "./environment.js";
import {
  findLease,
  isStale,
  type LeaseRecord,
  nextFence,
  noteClosed,
  putLease,
  sweepDeadLeases,
} from "./lease-rows.js";

/** No process outlives the host. */
const asLongAsTheirOwners = "until the host stops";

const firstPauseMs = 5;
const longestPauseMs = 50;
/**
 * While several are at work, whoever asks waits a moment for others to share the commit with, and longer on a slow disk:
 * it is waited for at most a third of the time.
 */
const patienceMs = 10;
const restPerCommit = 2;
/** Shorter waits are not worth a word. */
const silentMs = 1_000;

/** Something that one process at a time fetches. */
export interface Wanted {
  readonly key: Buffer;
  /** Whether it has come meanwhile: then no lease is needed. */
  readonly isHere: () => boolean;
}

export interface TakeOptions {
  readonly signal?: AbortSignal | undefined;
  /** Wait only until the owner there is gives it back, and then go on without a lease if another has taken it. */
  readonly onlyForOneOwner?: boolean | undefined;
  /** Called once if it takes longer than a second. */
  readonly onWaiting?: (() => void) | undefined;
}

/** A lease of this store. As many pulls as want the same thing share it. */
export interface Lease {
  readonly key: Buffer;
  readonly fence: number;
  readonly firstFence: number;
  users: number;
}

interface Attempt {
  readonly keys: readonly Buffer[];
  readonly resolve: (leases: readonly Lease[] | undefined) => void;
  readonly reject: (error: unknown) => void;
}

/**
 * The leases of one open store. Whoever fetches something holds the lease on it; everybody else waits, reading only,
 * until it is there or the lease is free. No lock is held meanwhile, and an owner that dies is noticed by its process.
 *
 * Nobody waits in a circle: a pull takes the lease on its reference first, then those on manifests from the root
 * down, then those on all blobs of its image together; and whoever has these waits for no lease any more.
 */
export class Leases {
  readonly #environment: Environment;
  readonly #limits: Limits;
  readonly #store = randomUUID();
  /** By key, in latin1. */
  readonly #held = new Map<string, Lease>();
  /** Given back, and still in the database. */
  readonly #dropped = new Set<Lease>();
  readonly #attempts: Attempt[] = [];
  #nextCommit: NodeJS.Timeout | undefined;
  #restUntilMs = 0;
  #renewal: NodeJS.Timeout | undefined;
  #hasSwept = false;
  #isClosed = false;

  constructor(environment: Environment, limits: Limits) {
    this.#environment = environment;
    this.#limits = limits;
  }

  /**
   * Takes the leases on everything that is not here, all in one transaction or none; waits while another process has
   * one of them. What has come by then is not leased. Throws CACHE_BUSY after `leaseWaitMs`, INTERRUPTED, and what
   * `commit` throws.
   */
  async take(wanted: readonly Wanted[], options: TakeOptions = {}): Promise<readonly Lease[]> {
    const { signal, onlyForOneOwner = false } = options;
    const startedMs = monotonicMs();
    let { onWaiting } = options;
    let waitedFor: number | undefined;
    for (let pauseMs = firstPauseMs; ; pauseMs = Math.min(2 * pauseMs, longestPauseMs)) {
      throwIfAborted(signal);
      if (this.#isClosed) throw new BpfcacheError("INTERRUPTED", "interrupted");
      const keys = wanted.filter(({ isHere }) => !isHere()).map(({ key }) => key);
      if (keys.length === 0) return [];
      const owner = this.#ownerInTheWay(keys);
      waitedFor ??= owner;
      if (onlyForOneOwner && owner !== waitedFor && owner !== undefined) return [];
      const leases = owner === undefined ? await this.#attempt(keys) : undefined;
      if (leases !== undefined) return leases;
      const waitedMs = monotonicMs() - startedMs;
      if (waitedMs > this.#limits.leaseWaitMs) throw tooLong(waitedMs);
      if (waitedMs > silentMs) {
        onWaiting?.();
        onWaiting = undefined;
      }
      await pause(pauseMs, signal);
    }
  }

  giveBack(leases: Iterable<Lease>): void {
    if (this.#isClosed) return;
    for (const lease of leases) {
      lease.users--;
      if (lease.users > 0) continue;
      if (this.#held.get(idOf(lease.key)) === lease) this.#held.delete(idOf(lease.key));
      // As a rule the publication has removed it.
      if (this.#mayBeLeft(lease)) this.#dropped.add(lease);
    }
    if (this.#dropped.size > 0) this.#commitSoon();
    this.#keepRenewing();
  }

  /** Where that cannot be seen, the next commit sees. */
  #mayBeLeft(lease: Lease): boolean {
    try {
      return this.#environment.snapshot(() => this.isIntact(lease));
    } catch {
      return true;
    }
  }

  /** Whether the row is still that of this lease, and not of one who has taken over. */
  isIntact({ key, fence }: Lease): boolean {
    const row = findLease(this.#environment, key);
    return row !== undefined && row.fence === fence && row.owner.store === this.#store;
  }

  /** Gives everything back; whoever still asks gets INTERRUPTED. */
  close(): void {
    if (this.#isClosed) return;
    clearTimeout(this.#nextCommit);
    for (const { reject } of this.#attempts.splice(0))
      reject(new BpfcacheError("INTERRUPTED", "interrupted"));
    clearInterval(this.#renewal);
    for (const lease of this.#held.values()) this.#dropped.add(lease);
    this.#held.clear();
    if (this.#dropped.size > 0) ignoreFailure(() => this.#commit([]));
    this.#isClosed = true;
    noteClosed(this.#store);
  }

  /** The `firstFence` of somebody else's lease on one of the keys. */
  #ownerInTheWay(keys: readonly Buffer[]): number | undefined {
    return this.#environment.snapshot(() => {
      const owners = keys.map((key) => this.#leaseOfAnother(key)?.firstFence);
      return owners.find((fence) => fence !== undefined);
    });
  }

  /** What this store gave back in this turn is still there, and in nobody's way. */
  #leaseOfAnother(key: Buffer): LeaseRecord | undefined {
    const row = findLease(this.#environment, key);
    return row === undefined || row.owner.store === this.#store || isStale(row) ? undefined : row;
  }

  /** The lease of this store on the key, unless another has taken over. */
  #own(key: Buffer): Lease | undefined {
    const lease = this.#held.get(idOf(key));
    return lease !== undefined && this.isIntact(lease) ? lease : undefined;
  }

  /** Undefined when another was quicker. */
  #attempt(keys: readonly Buffer[]): Promise<readonly Lease[] | undefined> {
    return new Promise((resolve, reject) => {
      this.#attempts.push({ keys, resolve, reject });
      this.#commitSoon();
    });
  }

  /** All that is asked for and given back until then shares one transaction. A pull that is alone waits for nobody. */
  #commitSoon(): void {
    const waitMs = this.#held.size > 1 ? Math.max(patienceMs, this.#restUntilMs - monotonicMs()) : 0;
    this.#nextCommit ??= setTimeout(() => {
      this.#nextCommit = undefined;
      const attempts = this.#attempts.splice(0);
      const startedMs = monotonicMs();
      try {
        const outcomes = this.#commit(attempts);
        for (const [index, { resolve }] of attempts.entries()) resolve(outcomes[index]);
      } catch (error) {
        for (const { reject } of attempts) reject(error);
      }
      const endedMs = monotonicMs();
      this.#restUntilMs = endedMs + restPerCommit * (endedMs - startedMs);
      this.#keepRenewing();
    }, waitMs);
  }

  /** What each attempt has got. What is remembered changes only when the transaction has ended well. */
  #commit(attempts: readonly Attempt[]): readonly (readonly Lease[] | undefined)[] {
    const fresh = new Map<string, Lease>();
    const outcomes = this.#environment.commit(() => {
      for (const lease of this.#dropped) {
        if (this.isIntact(lease)) this.#environment.tree("leases").remove(lease.key);
      }
      const taken = attempts.map(({ keys }) => this.#takeAll(keys, fresh));
      if (!this.#hasSwept && attempts.length > 0) sweepDeadLeases(this.#environment);
      return taken;
    }, asLongAsTheirOwners);
    this.#dropped.clear();
    this.#hasSwept ||= attempts.length > 0;
    for (const [id, lease] of fresh) this.#held.set(id, lease);
    for (const lease of outcomes.flatMap((leases) => leases ?? [])) lease.users++;
    return outcomes;
  }

  #takeAll(keys: readonly Buffer[], fresh: Map<string, Lease>): readonly Lease[] | undefined {
    const own = (key: Buffer): Lease | undefined => fresh.get(idOf(key)) ?? this.#own(key);
    if (keys.some((key) => this.#leaseOfAnother(key) !== undefined)) return undefined;
    return keys.map((key) => {
      const known = own(key);
      if (known !== undefined) return known;
      const fence = nextFence(this.#environment);
      const firstFence = findLease(this.#environment, key)?.firstFence ?? fence;
      const lease: Lease = { key, fence, firstFence, users: 0 };
      this.#write(lease);
      fresh.set(idOf(key), lease);
      return lease;
    });
  }

  #write({ key, fence, firstFence }: Lease): void {
    const owner = { process: thisProcess(), store: this.#store };
    const deadlineMs = monotonicMs() + this.#limits.leaseMs;
    putLease(this.#environment, key, { owner, fence, firstFence, deadlineMs });
  }

  /** Runs the timer while there is something to renew, or something left that could not be given back. */
  #keepRenewing(): void {
    if (this.#held.size === 0 && this.#dropped.size === 0) {
      clearInterval(this.#renewal);
      this.#renewal = undefined;
      return;
    }
    this.#renewal ??= setInterval(() => this.#renew(), this.#limits.leaseMs / 3).unref();
  }

  #renew(): void {
    // Without it only those who cannot see this process would take over, and the fence keeps that from doing harm.
    ignoreFailure(() => {
      if (this.#dropped.size > 0) this.#commit([]);
      this.#environment.commit(() => {
        for (const lease of this.#held.values()) if (this.isIntact(lease)) this.#write(lease);
      }, asLongAsTheirOwners);
    });
    this.#keepRenewing();
  }
}

function idOf(key: Buffer): string {
  return key.toString("latin1");
}

function tooLong(waitedMs: number): BpfcacheError {
  return new BpfcacheError(
    "CACHE_BUSY",
    `another process has been fetching the same for ${Math.round(waitedMs / 1000)} s`,
    { hint: "See whether a bpfcache process hangs." },
  );
}

async function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  await sleep(milliseconds, undefined, { signal }).catch(() => throwIfAborted(signal));
}

function ignoreFailure(work: () => void): void {
  try {
    work();
  } catch {
    // A full disk, most likely. What stays behind is retried, and ends with this process.
  }
}
