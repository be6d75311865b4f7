import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem } from "node:os";
import { join } from "node:path";
import type { CaseResult } from "./bench-case.js";
import { chartOf } from "./chart.js";
import { markdownOf, summaryOf } from "./markdown.js";

export interface CaseReport extends CaseResult {
  readonly name: string;
  readonly title: string;
  readonly seconds: number;
  /** Why there is no result. */
  readonly failure?: string;
}

export interface Report {
  readonly version: string;
  readonly machine: string;
  readonly startedAt: string;
  readonly minutes: number;
  readonly isQuick: boolean;
  /** Versions by name. */
  readonly peers: Readonly<Record<string, string>>;
  /** Reasons by name. */
  readonly missing: Readonly<Record<string, string>>;
  readonly cases: readonly CaseReport[];
}

/** Markdown, JSON with every sample, and a chart for each case, into a directory of their own. */
export function writeReport(directory: string, report: Report): void {
  rmSync(directory, { recursive: true, force: true });
  mkdirSync(directory, { recursive: true });
  writeFileSync(join(directory, "report.json"), `${JSON.stringify(report, null, 1)}\n`);
  writeFileSync(join(directory, "README.md"), markdownOf(report));
  for (const { name, title, tables } of report.cases) {
    if (tables.length > 0) writeFileSync(join(directory, `${name}.svg`), chartOf(title, tables));
  }
}

const summary = /(?<=<!-- The last full run, put here by npm run bench -->\n).*(?=<!-- ends here -->)/s;

/** Puts the summary into the README in the place of the one that is there. */
export function putIntoReadme(path: string, report: Report): void {
  writeFileSync(
    path,
    readFileSync(path, "utf8").replace(summary, () => `${summaryOf(report)}\n`),
  );
}

export function describeMachine(): string {
  const processors = cpus();
  const model = processors[0]?.model.trim() ?? "an unknown processor";
  const gigabytes = Math.round(totalmem() / 2 ** 30);
  return `${processors.length} × ${model}, ${gigabytes} GiB, Linux ${release()}, Node ${process.versions.node}`;
}
