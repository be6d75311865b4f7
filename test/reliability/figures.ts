import { appendFileSync } from "node:fs";

/** Says what a test measured, on the console and, under `run.js`, in the table at the end. */
export function report(what: string, figures: string): void {
  console.log(`${what}: ${figures}`);
  const file = process.env["BPFCACHE_FIGURES"];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify({ what, figures })}\n`);
}

/** The value that so much of them (0 to 1) does not exceed. */
export function quantile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(part * sorted.length))] ?? 0;
}
