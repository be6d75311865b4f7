import type { Clock } from "./clock.js";
import type { RegistryFailure } from "./failure.js";
import { NetworkFailure } from "./network-failure.js";

interface Rest {
  readonly until: number;
  readonly lengthMs: number;
  readonly failure: RegistryFailure;
}

const firstRestMs = 30_000;
const longestRestMs = 600_000;

/**
 * Mirrors that could not be reached lately, so that a dead one costs its timeout once and not with every blob. The
 * rest doubles each time it was in vain. Kept in this process only: the next one may be on another network.
 */
export class RestingHosts {
  readonly #rests = new Map<string, Rest>();
  readonly #clock: Clock;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Why a host rests; undefined when it may be asked. */
  reason(host: string): RegistryFailure | undefined {
    const rest = this.#rests.get(host);
    return rest !== undefined && rest.until > this.#clock.now() ? rest.failure : undefined;
  }

  /** Only what would be the same for every other question counts: no connection, or a server that wants to be left alone. */
  failed(host: string, failure: RegistryFailure): void {
    const isAboutHost = failure instanceof NetworkFailure || failure.retryAfterMs !== undefined;
    if (!isAboutHost) this.answered(host);
    // Those that were under way together failed once.
    if (!isAboutHost || this.reason(host) !== undefined) return;
    const last = this.#rests.get(host);
    const usualMs = last === undefined ? firstRestMs : 2 * last.lengthMs;
    const lengthMs = Math.min(longestRestMs, Math.max(usualMs, failure.retryAfterMs ?? 0));
    this.#rests.set(host, { until: this.#clock.now() + lengthMs, lengthMs, failure });
  }

  answered(host: string): void {
    this.#rests.delete(host);
  }
}
