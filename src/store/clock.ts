import { monotonicMs } from "../core/monotonic.js";
import { thisProcess } from "../core/process-identity.js";
import { soundRecordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { encodeRecord } from "./values.js";

// A host without a battery for its clock begins in 1970 and is set to today once it has a network: what was used in
// between would be half a century old. Others are set wrong by hand, and back. The monotonic clock of the boot tells how
// far the clock was set, and so how old a use really is. A boot that ends with a wrong clock cannot be put right.

/** A time in which the clock ran on by itself. */
interface Span {
  readonly bootId: string;
  /** What the clock showed at first, in milliseconds since 1970. */
  readonly from: number;
  /** What it showed last, before it was set. */
  readonly to: number;
  /** How far it was set then. */
  readonly setBy: number;
}

interface ClockRecord {
  /** Both clocks at one moment of the span that lasts. */
  readonly wallMs: number;
  readonly monotonicMs: number;
  readonly bootId: string;
  /** Oldest first. */
  readonly past: readonly Span[];
}

const clockKey = Buffer.from("clock");
/** A clock is drawn to the right time by less than this, and set by more. */
const toleranceMs = 600_000;
const keptSpans = 8;

/** To be called with every use that is noted. Only inside `commit`. */
export function noteClock(environment: Environment): void {
  const known = soundRecordAt<ClockRecord>(environment, "meta", clockKey);
  const now = clockNow(known);
  if (now !== known) environment.tree("meta").put(clockKey, encodeRecord(now));
}

/** How old a use is, in milliseconds, by its time; below zero when it seems to come. */
export type AgeOf = (usedAt: number) => number;

export interface Ages {
  readonly ageOf: AgeOf;
  /** Whether a use with a later time is never the older one. */
  readonly isInOrder: boolean;
}

export function ages(environment: Environment): Ages {
  const { past } = clockNow(soundRecordAt<ClockRecord>(environment, "meta", clockKey));
  const now = Date.now();
  return { ageOf: (usedAt) => now - usedAt - setSince(past, usedAt), isInOrder: past.length === 0 };
}

/** How far the clock was set between the use and the end of that boot. */
function setSince(past: readonly Span[], usedAt: number): number {
  const index = past.findLastIndex(({ from, to }) => usedAt >= from && usedAt <= to);
  const bootId = past[index]?.bootId;
  if (bootId === undefined) return 0;
  return past
    .slice(index)
    .filter((span) => span.bootId === bootId)
    .reduce((sum, { setBy }) => sum + setBy, 0);
}

/** The same record when the clock has run on since. */
function clockNow(known: ClockRecord | undefined): ClockRecord {
  const { bootId } = thisProcess();
  const here = { wallMs: Date.now(), monotonicMs: monotonicMs(), bootId };
  if (known === undefined) return { ...here, past: [] };
  if (known.bootId !== bootId) return { ...here, past: known.past };
  const expected = known.wallMs + here.monotonicMs - known.monotonicMs;
  const setBy = here.wallMs - expected;
  if (Math.abs(setBy) <= toleranceMs) return known;
  const span: Span = { bootId, from: known.wallMs, to: expected, setBy };
  return { ...here, past: [...known.past, span].slice(-keptSpans) };
}
