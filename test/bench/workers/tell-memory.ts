import { appendFileSync } from "node:fs";

// Loaded with --import before a program, it writes down how much of it was resident at most, in KB.
process.on("exit", () => {
  const file = process.env["BPFCACHE_BENCH_MEMORY"];
  if (file !== undefined) appendFileSync(file, `${process.resourceUsage().maxRSS}\n`);
});
