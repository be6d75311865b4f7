import { emit } from "../../core/events.js";
import { backoffMs, longestRetryAfterMs } from "./backoff.js";
import type { Clock } from "./clock.js";
import { RegistryFailure } from "./failure.js";
import { NetworkFailure } from "./network-failure.js";
import type { Call } from "./transport.js";

/**
 * Repeats what failed by chance, after a wait, at most `retries` times. A server that asks for a wait gets it, up to
 * a bound; beyond that the failure stands at once.
 */
export class Retries {
  readonly #retries: number;
  readonly #clock: Clock;
  /** Until when a host wants to be left alone: one request's 429 is a lesson for all of them. */
  readonly #quietUntil = new Map<string, number>();

  constructor(retries: number, clock: Clock) {
    this.#retries = retries;
    this.#clock = clock;
  }

  async run<T>(host: string, call: Call, attempt: () => Promise<T>): Promise<T> {
    for (let failures = 1; ; failures += 1) {
      await this.#quiet(host, call);
      try {
        return await attempt();
      } catch (error) {
        if (!(error instanceof RegistryFailure)) throw error;
        await this.wait(error, failures, host, call);
      }
    }
  }

  /** Returns when, after so many failures in a row, another attempt is due; throws the failure when none is. */
  async wait(failure: RegistryFailure, failures: number, host: string, call: Call): Promise<void> {
    const delayMs = this.#delay(failure, failures, call);
    if (delayMs === undefined) throw failure;
    emit(call.onEvent, {
      event: "retry",
      reference: call.reference,
      url: host,
      attempt: failures,
      delayMs: Math.round(delayMs),
      reason: failure.message,
    });
    if (failure.retryAfterMs !== undefined) this.#silence(host, delayMs);
    await this.#clock.sleep(delayMs, call.signal);
  }

  /** How long to wait before trying again, or undefined to let the failure stand. */
  #delay(failure: RegistryFailure, failures: number, { patience }: Call): number | undefined {
    const { retries, longestWaitMs } = patience ?? {
      retries: this.#retries,
      longestWaitMs: longestRetryAfterMs,
    };
    if (!failure.retryable || failures > Math.min(retries, this.#retries)) return undefined;
    if (patience !== undefined && failure instanceof NetworkFailure && failure.isTimeout) return undefined;
    const asked = failure.retryAfterMs ?? 0;
    if (asked > longestWaitMs) return undefined;
    // Never sooner than asked, and not all at the same moment.
    return asked + backoffMs(failures, this.#clock);
  }

  #silence(host: string, delayMs: number): void {
    const until = this.#clock.now() + delayMs;
    this.#quietUntil.set(host, Math.max(until, this.#quietUntil.get(host) ?? 0));
  }

  async #quiet(host: string, call: Call): Promise<void> {
    const remaining = (this.#quietUntil.get(host) ?? 0) - this.#clock.now();
    if (remaining <= 0) return;
    const longestWaitMs = call.patience?.longestWaitMs ?? longestRetryAfterMs;
    await this.#clock.sleep(Math.min(remaining, longestWaitMs), call.signal);
  }
}
