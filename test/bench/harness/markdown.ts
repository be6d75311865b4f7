import type { Goal, Table } from "./bench-case.js";
import type { CaseReport, Report } from "./report.js";
import { least, median, spread } from "./samples.js";

/** The report for people. Charts are named as `writeReport` writes them. */
export function markdownOf(report: Report): string {
  const { peers, missing, cases } = report;
  return [
    "# Benchmarks",
    "",
    `${whatRan(report)}, in ${report.minutes} minutes. Contestants ran in alternation; figures are medians, the least ` +
      "value in brackets, and the distance between the quartiles as a share of the median. Requests are medians too." +
      (report.isQuick ? " A quick run: few rounds, small sets." : ""),
    "",
    `Against ${Object.entries(peers)
      .map(([name, version]) => `${name} ${version}`)
      .join(", ")}.`,
    ...Object.entries(missing).map(([name, reason]) => `\nLeft out: ${name} (${reason}).`),
    "",
    "## Goals",
    "",
    ...goalRows(cases),
    "",
    ...cases.flatMap(sectionOf),
  ].join("\n");
}

/** What stands of it in the project's README. */
export function summaryOf(report: Report): string {
  return [`${whatRan(report)}:`, "", ...goalRows(report.cases)].join("\n");
}

function whatRan({ version, machine, startedAt }: Report): string {
  return `bpfcache ${version} on ${machine}, ${startedAt.slice(0, 10)}`;
}

function goalRows(cases: readonly CaseReport[]): string[] {
  return [
    "| case | goal | wanted | found, of medians (of least values) | |",
    "|---|---|--:|--:|---|",
    ...cases.flatMap(({ name, goals }) => goals.map((goal) => goalRow(name, goal))),
  ];
}

function goalRow(name: string, { text, wanted, found, isMet }: Goal): string {
  const figures = `${figure(found.ofMedians)} (${figure(found.ofLeast)})`;
  return `| ${name} | ${text} | ${wanted} | ${figures} | ${isMet ? "met" : "**missed**"} |`;
}

function sectionOf({ name, title, tables, notes = [], failure, seconds }: CaseReport): string[] {
  return [
    `## ${name}: ${title}`,
    "",
    ...(failure === undefined ? [] : [`It failed: ${failure}`, ""]),
    ...(tables.length === 0 ? [] : [`![${title}](${name}.svg)`, ""]),
    ...tables.flatMap(tableRows),
    ...notes.flatMap((note) => [note, ""]),
    `(${seconds} s)`,
    "",
  ];
}

function tableRows({ title, unit, rows }: Table): string[] {
  const hasRequests = rows.some(({ requests }) => requests !== undefined);
  const hasCpu = rows.some(({ cpuMs }) => cpuMs !== undefined);
  const columns = [
    unit,
    "spread",
    ...(hasCpu ? ["CPU ms"] : []),
    ...(hasRequests ? ["requests"] : []),
    "runs",
  ];
  return [
    `| ${title} | ${columns.join(" | ")} |`,
    `|---|${columns.map(() => "--:|").join("")}`,
    ...rows.map(({ name, values, cpuMs, requests }) =>
      [
        "",
        name,
        `${figure(median(values))} (${figure(least(values))})`,
        `${Math.round(spread(values) * 100)} %`,
        ...(hasCpu ? [cpuMs === undefined ? "" : figure(median(cpuMs))] : []),
        ...(hasRequests ? [requests === undefined ? "" : figure(median(requests))] : []),
        values.length,
        "",
      ]
        .join(" | ")
        .trim(),
    ),
    "",
  ];
}

/** Three digits that count, and all of those before the point. */
export function figure(value: number): string {
  if (!Number.isFinite(value)) return "–";
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString("en-US");
  return String(Number(value.toPrecision(3)));
}
