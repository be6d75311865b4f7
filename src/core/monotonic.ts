/**
 * Milliseconds of a clock that all processes of one boot share and nobody sets. `process.hrtime` is CLOCK_MONOTONIC
 * (libuv, uv__hrtime): it counts from boot, unlike `performance.now`.
 */
export function monotonicMs(): number {
  return Number(process.hrtime.bigint() / 1_000_000n);
}
