import { readFileSync } from "node:fs";
import { openCache } from "../../../src/index.js";

// Takes images into a cache in a process of its own, whose memory and processor time are then its alone. It says when
// it is ready, begins when it is told to, and says what that took.

export interface TakeOrder {
  readonly directory: string;
  readonly caFile?: string;
  readonly references: readonly string[];
  readonly jobs?: number;
  readonly pullPolicy?: "Always" | "IfNotPresent";
  /** A file to seed from instead. */
  readonly seed?: string;
  /** The repository of what has no name in it. */
  readonly as?: string;
}

export interface TakeResult {
  readonly milliseconds: number;
  readonly cpuMs: number;
  readonly requests: number;
  /** The most that was resident at any moment, in MB; and what of that at the end is not of a file, as the database is. */
  readonly residentMb: number;
  readonly anonymousMb: number;
}

const order = JSON.parse(readFileSync(process.argv[2] ?? "", "utf8")) as TakeOrder;
const { directory, caFile, references, jobs, pullPolicy = "IfNotPresent", seed, as } = order;
const cache = await openCache({ directory, caFile, pullPolicy, platform: "linux/amd64" });

process.on("message", async () => {
  const cpuBefore = process.cpuUsage();
  const startedAt = performance.now();
  const result =
    seed === undefined ? await cache.prefetch(references, { jobs }) : await cache.seed([seed], { jobs, as });
  const milliseconds = performance.now() - startedAt;
  const { user, system } = process.cpuUsage(cpuBefore);
  const [failure] = result.failed;
  if (failure !== undefined) {
    console.error(`${result.failed.length} failed, the first with: ${JSON.stringify(failure)}`);
    process.exit(1);
  }
  const message: TakeResult = {
    milliseconds,
    cpuMs: (user + system) / 1_000,
    requests: result.images.reduce((sum, { requests }) => sum + requests, 0),
    residentMb: statusMb("VmHWM"),
    anonymousMb: statusMb("RssAnon"),
  };
  process.send?.(message, () => process.exit(0));
});
process.send?.("ready");

/** proc(5), /proc/pid/status. What getrusage(2) calls the most resident was its parent's, before the program was loaded. */
function statusMb(field: "VmHWM" | "RssAnon"): number {
  const status = readFileSync("/proc/self/status", "utf8");
  const [, kilobytes] = new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status) ?? [];
  return Number(kilobytes) / 1_000;
}
