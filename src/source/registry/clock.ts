import { setTimeout as delay } from "node:timers/promises";
import { throwIfAborted } from "../../core/errors.js";

/** Time and chance, in one place so that tests need not wait and backoff is repeatable. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
  /** Rejects with INTERRUPTED as soon as `signal` is aborted. */
  sleep(ms: number, signal: AbortSignal | undefined): Promise<void>;
  /** From 0 up to but not including 1. */
  random(): number;
}

export const systemClock: Clock = {
  now: () => Date.now(),
  random: () => Math.random(),
  async sleep(ms, signal) {
    throwIfAborted(signal);
    try {
      await delay(ms, undefined, signal === undefined ? {} : { signal });
    } catch (error) {
      throwIfAborted(signal);
      throw error;
    }
  },
};
