import type { Clock } from "./clock.js";

const firstDelayMs = 200;
const longestDelayMs = 3_000;

/** The longest wait a server may ask for. Longer ones fail at once: the user is better told than kept waiting. */
export const longestRetryAfterMs = 60_000;

const unitMs: Readonly<Record<string, number>> = { n: 1e-6, u: 1e-3, m: 1, "": 1_000 };

/** How long to wait before attempt number `attempt` (1 is the first repetition): doubling, and half of it chance. */
export function backoffMs(attempt: number, clock: Clock): number {
  const ceiling = Math.min(longestDelayMs, firstDelayMs * 2 ** (attempt - 1));
  return ceiling * (0.5 + clock.random() / 2);
}

/**
 * Milliseconds a Retry-After header asks for: seconds or a date (RFC 9110, section 10.2.3), or a Go duration as
 * GHCR sends it ("141.62µs", whose µ may arrive in any encoding). Undefined when there is none or it is nonsense.
 */
export function parseRetryAfter(value: string | undefined, now: number): number | undefined {
  const text = value?.trim() ?? "";
  if (/^\d+(?:\.\d+)?$/.test(text)) return Number(text) * 1_000;
  const duration = goDurationMs(text);
  if (duration !== undefined) return duration;
  if (!/[a-z]{3}/i.test(text)) return undefined;
  const date = Date.parse(text);
  return Number.isNaN(date) ? undefined : Math.max(0, date - now);
}

/** A Go duration such as `1m30s`; undefined when it is none. */
export function goDurationMs(text: string): number | undefined {
  if (!/^(?:[\d.]+[^\d.]{1,3})+$/.test(text)) return undefined;
  let total = 0;
  for (const [, amount = "", unit = ""] of text.matchAll(/([\d.]+)([^\d.]+)/g)) {
    const each = durationUnitMs(unit);
    if (each === undefined) return undefined;
    total += Number(amount) * each;
  }
  return Number.isNaN(total) ? undefined : total;
}

function durationUnitMs(unit: string): number | undefined {
  if (unit === "h") return 3_600_000;
  if (unit === "m") return 60_000;
  if (!unit.endsWith("s")) return undefined;
  const prefix = unit.slice(0, -1);
  return unitMs[prefix] ?? (/^[^\x20-\x7e]+$/.test(prefix) ? unitMs["u"] : undefined);
}
