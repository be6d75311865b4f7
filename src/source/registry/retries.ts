import { emit } from "../../core/events.js";
import { backoffMs, longestRetryAfterMs } from "./backoff.js";
import type { Clock } from "./clock.js";
import { RegistryFailure } from "./failure.js";
import { NetworkFailure } from "./network-failure.js";
import type { Call } from "./transport.js";
import { Turns } from "./turns.js";

/** How often one request may be told to come back later. */
const mostRefusals = 20;

/**
 * Repeats what failed by chance, after a wait, at most `retries` times. A server that asks for a wait gets it, up to
 * a bound; beyond that the failure stands at once.
 */
export class Retries {
  readonly #retries: number;
  readonly #clock: Clock;
  readonly #turns: Turns;
  /** Until when a host wants to be left alone: one request's 429 is a lesson for all of them. */
  readonly #quietUntil = new Map<string, number>();

  constructor(retries: number, clock: Clock) {
    this.#retries = retries;
    this.#clock = clock;
    this.#turns = new Turns(clock);
  }

  /**
   * Repeats `attempt`. With `takesTurns` a host that has refused for load is asked by one caller at a time; whoever
   * may be called from within another's attempt must not wait for that one's turn to end.
   */
  async run<T>(
    host: string,
    call: Call,
    attempt: () => Promise<T>,
    options: { readonly takesTurns: boolean } = { takesTurns: false },
  ): Promise<T> {
    let endTurn: (() => void) | undefined;
    try {
      for (let failures = 0, refusals = 0; ; ) {
        if (options.takesTurns && endTurn === undefined && this.#turns.isCautious(host)) {
          endTurn = await this.#turns.take(host, call.signal);
        }
        await this.#quiet(host, call);
        try {
          return await attempt();
        } catch (error) {
          if (!(error instanceof RegistryFailure)) throw error;
          // Being told to wait says nothing about whether it will work then: such refusals have a bound of their own.
          const isRefusal = error.retryAfterMs !== undefined && call.patience === undefined;
          if (isRefusal && ++refusals > mostRefusals) throw error;
          if (!isRefusal) failures += 1;
          await this.wait(error, isRefusal ? Math.min(refusals - 1, this.#retries) : failures, host, call);
        }
      }
    } finally {
      endTurn?.();
    }
  }

  /**
   * Returns when, after so many failures in a row, another attempt is due; throws the failure when none is. None at
   * all: the server has only said when it wants to be asked again.
   */
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
    if (failure.retryAfterMs !== undefined) {
      this.#silence(host, delayMs);
      this.#turns.refused(host);
    }
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
    return asked + (failures === 0 ? asked * 0.1 * this.#clock.random() : backoffMs(failures, this.#clock));
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
