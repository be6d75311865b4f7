import { setTimeout as sleep } from "node:timers/promises";
import { BpfcacheError, throwIfAborted } from "../core/errors.js";

/** How a round ended. */
export interface Round {
  /** Whether something failed that may work a little later: a registry that is down, a list that cannot be read. */
  readonly isWorthRepeating: boolean;
}

export interface FollowOptions {
  readonly intervalMs: number;
  /** Aborting is how following ends: what is under way is interrupted, and that is no failure. */
  readonly signal: AbortSignal;
  /** Told before each wait how long that is. */
  readonly onWaiting?: ((waitMs: number) => Promise<void>) | undefined;
  /** @internal For tests: waits take no time, chance is fixed. */
  readonly clock?: Clock | undefined;
}

export interface Clock {
  /** From 0 to 1. */
  readonly random: () => number;
  readonly sleep: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

/** After a failure the next round comes soon, and ever later while failures go on. */
const firstRetryMs = 5_000;
/** The longest that a short interval is stretched to. */
const longestRetryMs = 300_000;

const systemClock: Clock = {
  random: Math.random,
  sleep: async (milliseconds, signal) => {
    await sleep(milliseconds, undefined, { signal }).catch(() => throwIfAborted(signal));
  },
};

/** Runs `round`, which is not to throw, again and again until the signal is aborted. */
export async function follow(
  round: () => Promise<Round>,
  { intervalMs, signal, onWaiting, clock = systemClock }: FollowOptions,
): Promise<void> {
  for (let failures = 0; !signal.aborted; ) {
    const { isWorthRepeating } = await round();
    if (signal.aborted) return;
    failures = isWorthRepeating ? failures + 1 : 0;
    const waitMs = waitAfter(failures, intervalMs, clock.random());
    await onWaiting?.(waitMs);
    await untilAborted(clock.sleep(waitMs, signal));
  }
}

/** Node.js takes what is longer for no time at all: 24.8 days. */
const longestTimerMs = 0x7fffffff;

/** How long until the next round, after so many in a row that are worth repeating. */
export function waitAfter(failures: number, intervalMs: number, random: number): number {
  return Math.min(Math.round(jittered(failures, intervalMs, random)), longestTimerMs);
}

/** Many nodes that were started together must not ask together for ever. */
function jittered(failures: number, intervalMs: number, random: number): number {
  if (failures === 0) return intervalMs * (0.9 + 0.2 * random);
  const first = Math.min(firstRetryMs, intervalMs);
  const longest = Math.max(intervalMs, longestRetryMs);
  return Math.min(first * 2 ** (failures - 1), longest) * (0.75 + 0.5 * random);
}

async function untilAborted(wait: Promise<void>): Promise<void> {
  try {
    await wait;
  } catch (error) {
    if (!(error instanceof BpfcacheError) || error.code !== "INTERRUPTED") throw error;
  }
}
