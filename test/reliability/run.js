// Runs the tests of reliability and ends with a table of what they measured.
//
//     node test/reliability/run.js [--soak]

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const isSoak = process.argv.includes("--soak");
const directory = mkdtempSync(join(tmpdir(), "bpfcache-figures-"));
const file = join(directory, "figures");
writeFileSync(file, "");
// One file at a time under soak: it measures memory and latencies, which a neighbour would disturb.
const options = isSoak ? ["--no-file-parallelism"] : [];
const { status } = spawnSync("npx", ["vitest", "run", "test/reliability", ...options], {
  stdio: "inherit",
  env: { ...process.env, BPFCACHE_FIGURES: file, ...(isSoak ? { BPFCACHE_SOAK: "1" } : {}) },
});
const rows = readFileSync(file, "utf8")
  .split("\n")
  .filter((line) => line !== "")
  .map((line) => JSON.parse(line));
rmSync(directory, { recursive: true });
const width = Math.max(0, ...rows.map(({ what }) => what.length));
for (const { what, figures } of rows.sort((a, b) => a.what.localeCompare(b.what, "en", { numeric: true })))
  console.log(`${what.padEnd(width)}  ${figures}`);
process.exitCode = status ?? 1;
