import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { markdownOf, summaryOf } from "../bench/harness/markdown.js";

const root = new URL("../../", import.meta.url);

function read(path: string): string {
  return readFileSync(new URL(path, root), "utf8");
}

it("the README and the report say what the last full run of the benchmarks has found", () => {
  const report = JSON.parse(read("test/bench/report/report.json"));
  expect(report.isQuick).toBe(false);
  expect(read("README.md")).toContain(summaryOf(report));
  expect(read("test/bench/report/README.md")).toBe(markdownOf(report));
});
