import { BpfcacheError, throwIfAborted } from "../core/errors.js";
import { emit, type HitReason, type MissReason } from "../core/events.js";
import type { Limits } from "../core/limits.js";
import { formatPlatform, parsePlatform } from "../core/platform.js";
import { parseManifest } from "../image/manifest.js";
import { platformsOf } from "../image/select-platform.js";
import type { ImageSource } from "../source/image-source.js";
import { notCached } from "../store/bytecode.js";
import { type LeaseGroup, LeaseLost } from "../store/lease-group.js";
import { referenceLeaseKey } from "../store/lease-rows.js";
import { ContentVanished } from "../store/publish.js";
import { manifestDigestOf, type RootRecord, rootDigestOf, type VerdictRecord } from "../store/records.js";
import type { Store } from "../store/store.js";
import type { Trust } from "../trust/trust.js";
import type { Downloads } from "./content.js";
import { emitDecided, warnIfRefused } from "./decider.js";
import { Flights } from "./flights.js";
import { emitVerified, Pull } from "./pull.js";
import { keepReferrers } from "./referrers.js";
import { requestAsItWas, unlessGone } from "./repair.js";
import { askedReference, type PullOutcome, type PullRequest } from "./request.js";
import { requireStored } from "./strict.js";
import { type Verification, verifyImage } from "./verify.js";

/** Takes images from sources into the store. */
export class Puller {
  readonly #store: Store;
  readonly #limits: Limits;
  readonly #pulls = new WeakMap<ImageSource, Flights<PullOutcome>>();
  readonly #trust: Trust | undefined;
  readonly #downloads: Downloads = { blobs: new Flights(), roots: new Flights(), referrers: new Flights() };

  constructor(store: Store, limits: Limits, trust?: Trust) {
    this.#store = store;
    this.#limits = limits;
    this.#trust = trust;
  }

  /**
   * Makes the reference readable on the platform, as the policy says. Callers in this process that want the same at
   * the same time share one pull, and different images share the download of what they have in common.
   */
  async pull(request: PullRequest): Promise<PullOutcome> {
    return this.#withReferrers(request, await this.#pullImage(request));
  }

  async #pullImage(request: PullRequest): Promise<PullOutcome> {
    throwIfAborted(request.signal);
    const cached = this.#findUsable(request);
    const hit = cached && this.#hit(request, cached, hitReason(request));
    if (hit !== undefined) return hit;
    this.#emitMiss(request, cached);
    // A root that is given is what it was already.
    const asItWas =
      cached && request.root === undefined ? requestAsItWas(this.#store, request, cached) : undefined;
    const repaired = asItWas && (await unlessGone(this.#pullImage(asItWas)));
    if (repaired !== undefined) return repaired;
    if (request.policy === "Never") throw notCached(request.reference);
    const { reference, platform, policy, root, lockedTo, mayMoveReference = true, strict = false } = request;
    const key = [
      reference,
      formatPlatform(platform),
      policy,
      root?.digest,
      lockedTo,
      mayMoveReference,
      strict,
    ].join(" ");
    const passenger = this.#pullsFrom(request.source).board(key, (signal) =>
      this.#pullAgainIfVanished({ ...request, signal }),
    );
    try {
      return await passenger.arrival(request.signal);
    } catch (error) {
      throw error instanceof BpfcacheError ? error.about(reference.toString()) : error;
    } finally {
      passenger.leave();
    }
  }

  /**
   * Makes the reference readable on every platform that its root names, side by side. The source is asked once what
   * the root is, under any policy but Never. The request's own platform is for a root that is a single manifest.
   */
  async pullAllPlatforms(request: PullRequest): Promise<PullOutcome[]> {
    const { reference, source, signal, onEvent, policy } = request;
    if (policy === "Never") {
      const cached = this.#store
        .platformsOf(reference)
        .map((platform) => this.pull({ ...request, platform }));
      if (cached.length === 0) throw notCached(reference);
      return allOrFirstFailure(cached);
    }
    emit(onEvent, { event: "miss", reference: reference.toString(), reason: "platforms" });
    let requests = 0;
    const resolution = await source.resolve(askedReference(request), {
      signal,
      onEvent,
      onRequest: () => requests++,
    });
    if (resolution.unchanged)
      throw new BpfcacheError("INTERNAL", "the source said unchanged of what it was not told");
    const { descriptor, bytes, etag } = resolution;
    const root = { digest: descriptor.digest, mediaType: descriptor.mediaType, bytes, etag };
    const index = parseManifest(bytes, descriptor.mediaType);
    const named = index.kind === "index" ? platformsOf(index).map(parsePlatform) : [];
    const platforms = named.length > 0 ? named : [request.platform];
    const pulls = platforms.map((platform) =>
      this.#pullImage({ ...request, platform, policy: "Always", root }),
    );
    const [first, ...others] = await allOrFirstFailure(pulls);
    if (first === undefined) return [];
    const counted = {
      ...first,
      requests: first.requests + requests,
      bytesFetched: first.bytesFetched + bytes.byteLength,
    };
    return [await this.#withReferrers(request, counted, others), ...others];
  }

  /** See `verifyImage`. Throws USAGE without a policy. */
  verify(request: PullRequest): Promise<Verification> {
    if (this.#trust !== undefined)
      return verifyImage(this.#store, this.#limits, this.#downloads, this.#trust, request);
    throw new BpfcacheError("USAGE", "there is no trust policy to verify by", {
      reference: request.reference.toString(),
      hint: "Name one with --policy FILE.",
    });
  }

  /** With what it takes to keep what refers to the image, and to those from the same root. */
  async #withReferrers(
    request: PullRequest,
    outcome: PullOutcome,
    others: readonly PullOutcome[] = [],
  ): Promise<PullOutcome> {
    const records = [outcome, ...others].map(({ record }) => record);
    const cost = await keepReferrers(this.#store, this.#limits, this.#downloads, request, records);
    return {
      ...outcome,
      requests: outcome.requests + cost.requests,
      bytesFetched: outcome.bytesFetched + cost.bytesFetched,
    };
  }

  #pullsFrom(source: ImageSource): Flights<PullOutcome> {
    const flights = this.#pulls.get(source) ?? new Flights<PullOutcome>();
    this.#pulls.set(source, flights);
    return flights;
  }

  /** What is here and, by policy and age, need not be asked for. What a digest names never changes. */
  #findUsable(request: PullRequest): RootRecord | undefined {
    const { lockedTo } = request;
    if (lockedTo === undefined) return this.#findByPolicy(request);
    const record = this.#store.findReference(request.reference, request.platform);
    return record !== undefined && rootDigestOf(record) === lockedTo ? record : undefined;
  }

  #findByPolicy({ reference, platform, policy, maxAgeMs }: PullRequest): RootRecord | undefined {
    if (reference.digest !== undefined || policy === "Never") return this.#store.find(reference, platform);
    if (policy === "Always") return undefined;
    const record = this.#store.findReference(reference, platform);
    const isStale =
      record !== undefined && maxAgeMs !== undefined && Date.now() - record.checkedAt > maxAgeMs;
    return isStale ? undefined : record;
  }

  #hit(request: PullRequest, record: RootRecord, reason: HitReason): PullOutcome | undefined {
    const { reference, platform, onEvent } = request;
    if (!this.#store.isIntact(record)) return undefined;
    const root = rootDigestOf(record);
    const verdict = this.#trust?.approved(reference, root);
    // What is kept here does not do for the policy in force; the source may have more signatures of the same root.
    if (this.#trust !== undefined && verdict === undefined) return undefined;
    if (request.strict === true) requireStored(this.#store, record, reference);
    const adopted = this.#store.adopt(reference, platform, record, Date.now());
    if (adopted === undefined) return undefined;
    this.#store.noteUse(manifestDigestOf(record), Date.now());
    if (verdict !== undefined) {
      emitDecided(onEvent, reference, root, verdict);
      this.#keep(verdict, request);
    }
    emit(onEvent, { event: "hit", reference: reference.toString(), digest: root, reason });
    emitVerified(onEvent, reference.toString(), record.objects);
    return { from: "cache", requests: 0, bytesFetched: 0, record: adopted, verdict };
  }

  /** A hit stays as cheap as it was: only what another policy has said, or nobody yet, is written. */
  #keep(verdict: VerdictRecord, { reference, onEvent }: PullRequest): void {
    warnIfRefused(verdict, reference, onEvent);
    const { root, policy, rule } = verdict;
    if (this.#store.verdict(root, policy, rule) === undefined)
      this.#store.approve({ verdict, referrers: [] });
  }

  #reasonAgainst(record: RootRecord): MissReason {
    return this.#trust !== undefined && this.#store.isIntact(record) ? "unapproved" : "damaged";
  }

  /** What files bring is not asked for by a miss, and a root that is given has been asked for already. */
  #emitMiss(request: PullRequest, unusable: RootRecord | undefined): void {
    const { reference, platform, source, root, onEvent } = request;
    if (source.isLocal === true || root !== undefined) return;
    const known = this.#store.findReference(reference, platform);
    emit(onEvent, {
      event: "miss",
      reference: reference.toString(),
      reason:
        unusable === undefined ? missReason(request, known !== undefined) : this.#reasonAgainst(unusable),
      ...(known !== undefined && { checkedAt: new Date(known.checkedAt).toISOString() }),
    });
  }

  /**
   * Another process may remove what this pull counted on finding, or take over what it was fetching when it seemed to
   * be dead; then it begins again.
   */
  async #pullAgainIfVanished(request: PullRequest): Promise<PullOutcome> {
    for (let attempt = 1; ; attempt++) {
      const leases = request.source.isLocal === true ? undefined : this.#store.leaseGroup();
      try {
        const pulledByAnother = await this.#waitForOthers(request, leases);
        if (pulledByAnother !== undefined) return pulledByAnother;
        return await new Pull(this.#store, this.#limits, this.#downloads, leases, request, this.#trust).run();
      } catch (error) {
        if (!(error instanceof ContentVanished || error instanceof LeaseLost) || attempt === 3) throw error;
      } finally {
        leases?.giveBack();
      }
    }
  }

  /**
   * Of all processes that miss an image one asks the source; the others wait for what it publishes. Under Always
   * each of them is to ask what the reference means, so they share only what comes after.
   */
  async #waitForOthers(
    request: PullRequest,
    leases: LeaseGroup | undefined,
  ): Promise<PullOutcome | undefined> {
    if (leases === undefined || request.policy !== "IfNotPresent") return undefined;
    const { reference, platform, signal } = request;
    const key = referenceLeaseKey(reference.toString(), formatPlatform(platform));
    const isHere = (): boolean => this.#findUsable(request) !== undefined;
    // When the first of them fails, the others ask side by side: a registry that is down is not waited for in turn.
    await leases.take([{ key, isHere }], {
      signal,
      onlyForOneOwner: true,
      onWaiting: () => emit(request.onEvent, { event: "waiting", reference: reference.toString() }),
    });
    const found = this.#findUsable(request);
    return found && this.#hit(request, found, "shared");
  }
}

function hitReason({ policy, reference, lockedTo }: PullRequest): HitReason {
  if (lockedTo !== undefined) return "locked";
  if (reference.digest !== undefined) return "digest";
  return policy === "Never" ? "never" : "fresh";
}

/** Of what `findUsable` has not found; `isHere` in some other state. */
function missReason({ policy, lockedTo, reference }: PullRequest, isHere: boolean): MissReason {
  if (!isHere || reference.digest !== undefined) return "absent";
  if (lockedTo !== undefined) return "locked";
  return policy === "Always" ? "policy" : "stale";
}

/** The results when all have ended well, else the first failure, after all have ended. */
async function allOrFirstFailure<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}
