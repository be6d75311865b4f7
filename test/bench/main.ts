// Measures bpfcache against the programs it takes the place of, and writes the report:
//
//     npm run bench                        everything, in less than half an hour
//     npm run bench -- --quick             few rounds and small sets
//     npm run bench -- --case pull         one case; may be given several times
//
// The report is in test/bench/report/, with its summary in README.md, or where --report says. Peers that are not here are
// built if they can be.

import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { cases } from "./cases.js";
import type { BenchCase, BenchContext } from "./harness/bench-case.js";
import { repositoryRoot } from "./harness/children.js";
import { figure } from "./harness/markdown.js";
import { Peers } from "./harness/peers.js";
import {
  type CaseReport,
  describeMachine,
  putIntoReadme,
  type Report,
  writeReport,
} from "./harness/report.js";
import { median } from "./harness/samples.js";

const { values: options } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    case: { type: "string", multiple: true },
    report: { type: "string" },
  },
});

const names = new Set(options.case ?? cases.map(({ name }) => name));
const chosen = cases.filter(({ name }) => names.has(name));
if (chosen.length < names.size) {
  console.error(`the cases are ${cases.map(({ name }) => name).join(", ")}`);
  process.exit(2);
}

const log = (message: string): void => console.error(`    ${message}`);
const startedAt = new Date();
const peers = Peers.find(log);
for (const [name, reason] of peers.missing) log(`without ${name}: ${reason}`);

const reports: CaseReport[] = [];
for (const each of chosen) {
  console.error(`\n=== ${each.name}: ${each.title}`);
  reports.push(await runCase(each));
}

const seconds = (Date.now() - startedAt.getTime()) / 1_000;
// A part of the cases is no report to replace the whole one with.
const isFull = options.case === undefined && !options.quick;
const usual = isFull ? join(repositoryRoot, "test/bench/report") : undefined;
const directory = options.report ?? usual ?? mkdtempSync(join(tmpdir(), "bpfcache-report-"));
const report: Report = {
  version: JSON.parse(readFileSync(join(repositoryRoot, "package.json"), "utf8")).version,
  machine: describeMachine(),
  startedAt: startedAt.toISOString(),
  minutes: Math.round(seconds / 6) / 10,
  isQuick: options.quick,
  peers: peers.versions(),
  missing: Object.fromEntries(peers.missing),
  cases: reports,
};
writeReport(directory, report);
if (directory === usual) putIntoReadme(join(repositoryRoot, "README.md"), report);
console.error(`\nThe report is in ${directory} (${Math.round(seconds)} s).`);
process.exitCode = reports.some(({ failure }) => failure !== undefined) ? 1 : 0;

async function runCase(each: BenchCase): Promise<CaseReport> {
  const directory = mkdtempSync(join(tmpdir(), "bpfcache-bench-"));
  const context: BenchContext = { isQuick: options.quick, peers, directory, log };
  const caseStartedAt = Date.now();
  const report = (result: Omit<CaseReport, "name" | "title" | "seconds">): CaseReport => ({
    name: each.name,
    title: each.title,
    seconds: Math.round((Date.now() - caseStartedAt) / 1_000),
    ...result,
  });
  try {
    const result = await each.run(context);
    print(result);
    return report(result);
  } catch (error) {
    console.error(error);
    return report({ tables: [], goals: [], failure: error instanceof Error ? error.message : String(error) });
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function print({ tables, goals }: Pick<CaseReport, "tables" | "goals">): void {
  for (const { title, unit, rows } of tables) {
    console.error(`\n${title} (${unit})`);
    for (const { name, values, cpuMs, requests } of rows) {
      const more = [
        cpuMs && `${figure(median(cpuMs))} ms CPU`,
        requests && `${figure(median(requests))} requests`,
        `${values.length} runs`,
      ].filter(Boolean);
      console.error(`  ${name.padEnd(44)}${figure(median(values)).padStart(10)}   ${more.join(", ")}`);
    }
  }
  for (const { text, wanted, found, isMet } of goals) {
    const ratios = `${figure(found.ofMedians)} (${figure(found.ofLeast)})`;
    console.error(`  ${isMet ? "met   " : "MISSED"}  ${text}: ${ratios}, wanted ${wanted}`);
  }
}
