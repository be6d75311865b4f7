import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { type CampaignReport, type Finding, runCampaign } from "./campaign.js";
import { targets } from "./targets.js";

/**
 * Mutants of everything that comes from a registry. Each is made from its number alone, so a finding is repeated by
 *
 *     BPFCACHE_FUZZ=1 BPFCACHE_FUZZ_FROM=<number> npx vitest run test/fuzz
 *
 * BPFCACHE_FUZZ is how many there are (20,000 in the normal tests). With BPFCACHE_FUZZ_STATE=FILE the campaign writes there
 * how far it has come; one that was interrupted goes on from there. Inputs of findings, and the number
 * of the mutant under way, are in bpfcache-fuzz in the directory for temporary files.
 */
const count = Number(process.env["BPFCACHE_FUZZ"] ?? 20_000);
const first = Number(process.env["BPFCACHE_FUZZ_FROM"] ?? 1);
const stateFile = process.env["BPFCACHE_FUZZ_STATE"];

interface State {
  readonly next: number;
  readonly findings: readonly Finding[];
}

const state: State =
  stateFile !== undefined && existsSync(stateFile)
    ? (JSON.parse(readFileSync(stateFile, "utf8")) as State)
    : { next: first, findings: [] };
const left = Math.max(0, first + count - state.next);

const timeout = 60_000 + count * 10;

test(
  "mutants are read or refused, quickly and within limits",
  async () => {
    const report = await runCampaign(state.next, left, save);
    save(state.next + left, report);
    if (count > 20_000) console.info(report);
    expect([...state.findings, ...report.findings]).toEqual([]);
    expect(report.retainedBytes).toBeLessThan(64 * 1024 ** 2);
    if (left < 20_000) return;
    // Otherwise the mutants would be too tame, or too wild to reach the depths.
    for (const { name } of targets) {
      expect(report.targets[name]?.read, `${name}: read`).toBeGreaterThan(0);
      expect(report.targets[name]?.refused, `${name}: refused`).toBeGreaterThan(0);
    }
  },
  timeout,
);

function save(next: number, report: CampaignReport): void {
  if (stateFile !== undefined) {
    writeFileSync(
      stateFile,
      JSON.stringify({ ...report, next, findings: [...state.findings, ...report.findings] }),
    );
  }
}
