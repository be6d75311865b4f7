// @ts-check
// What a load from the cache costs over `bpftool prog load` of a plain file. As root, after npm run build:
//
//     node test/bench/load-program.js [OBJECT.o] [LOADS]
//
// Both are measured in turns, so that what else the machine does strikes both, and from one process: starting another
// takes the longer the larger one is. The plain load is waited for in the way that costs least. Medians count; on a
// machine that is never idle the least of each, which nothing else has struck, says more, or `chrt -f 50 node …`.

import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { openCache } from "../../dist/index.js";

const example = fileURLToPath(new URL("../../examples/bpf/objects/xdp_counter.bpfel.o", import.meta.url));
const [file = example, count = "600"] = process.argv.slice(2);
const home = mkdtempSync(join(tmpdir(), "bpfcache-bench-"));
const pin = `/sys/fs/bpf/bpfcache-bench-${process.pid}`;
const reference = "registry.example/bench/program:v1";

const cache = await openCache({ directory: join(home, "cache") });
await cache.seed([file], { as: reference });
await cache.programs.list();

/** @type {Record<string, number[]>} */
const times = { "bpftool prog load": [], "cache.programs.load": [], "bpftool prog loadall + pinmaps": [] };
for (let i = 0; i < Number(count); i++) {
  measure("bpftool prog load", () => bpftool("prog", "load", file, pin));
  rmSync(pin);
  measure("bpftool prog loadall + pinmaps", () =>
    bpftool("prog", "loadall", file, pin, "pinmaps", `${pin}-maps`),
  );
  rmSync(pin, { recursive: true });
  rmSync(`${pin}-maps`, { recursive: true, force: true });
  const start = performance.now();
  const programs = await cache.programs.load(reference);
  times["cache.programs.load"]?.push(performance.now() - start);
  for (const { id } of programs) await cache.programs.unload(id);
}
await cache.close();
rmSync(home, { recursive: true });

const results = Object.entries(times).map(([name, all]) => ({
  name,
  median: median(all),
  least: Math.min(...all),
}));
const [plain = { median: 0, least: 0 }, cached = { median: 0, least: 0 }] = results;
const difference = { median: cached.median - plain.median, least: cached.least - plain.least };
for (const { name, ...figures } of [...results, { name: "over a plain file", ...difference }])
  console.log(
    `${name.padEnd(32)} median ${figures.median.toFixed(2)} ms, least ${figures.least.toFixed(2)} ms`,
  );

/** @param {string} name @param {() => void} work */
function measure(name, work) {
  const start = performance.now();
  work();
  times[name]?.push(performance.now() - start);
}

/** @param {string[]} args */
function bpftool(...args) {
  const { status, stderr } = spawnSync("bpftool", args, { encoding: "utf8" });
  if (status !== 0) throw new Error(stderr);
}

/** @param {number[]} all */
function median(all) {
  return [...all].sort((a, b) => a - b)[Math.floor(all.length / 2)] ?? Number.NaN;
}
