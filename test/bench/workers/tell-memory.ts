import { appendFileSync, readFileSync } from "node:fs";

// Loaded with --import before a program, it writes down how much of it was resident at most, in KB. What getrusage(2)
// says is no less than its parent's, of which it was a copy before it was loaded.
process.on("exit", () => {
  const file = process.env["BPFCACHE_BENCH_MEMORY"];
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  if (file !== undefined) appendFileSync(file, `${kilobytes}\n`);
});
