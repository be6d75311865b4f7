import { BpfcacheError } from "../core/errors.js";
import type { ScrubFinding, ScrubReport } from "../store/scrub/scrub.js";
import { formatBytes, plural, printable } from "./output.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { options, output, signal } = context;
  const repair = options.isSet("repair");
  const report = await withCache(context, (cache) => cache.scrub({ repair, signal }));
  output.result(report, () => describe(report));
  if (report.damaged.length === 0) return;
  throw new BpfcacheError("CACHE_CORRUPT", `${report.damaged.length} damaged and not repaired`, {
    hint: repair
      ? "What was lost comes back with the next bpfcache prefetch or seed that can reach it."
      : "Repair with bpfcache scrub --repair.",
  });
}

function describe({ checked, bytes, damaged, repaired, quarantined, steps }: ScrubReport): string {
  const seconds = Object.values(steps).reduce((sum, ms) => sum + ms, 0) / 1_000;
  const lines = [
    ...damaged.map((finding) => describeFinding("damaged", finding)),
    ...repaired.map((finding) => describeFinding("repaired", finding)),
    ...(quarantined.length === 0 ? [] : [describeQuarantine(quarantined)]),
    `${plural(checked, "row")}, ${formatBytes(bytes)} hashed in ${seconds.toFixed(1)} s: ${damaged.length} damaged, ${repaired.length} repaired`,
  ];
  return `${lines.join("\n")}\n`;
}

function describeFinding(outcome: string, { tree, name, reason, references }: ScrubFinding): string {
  const needed = references.length === 0 ? "" : ` (${references.join(", ")})`;
  return `${outcome} ${tree} ${printable(name)}${needed}: ${printable(reason)}`;
}

function describeQuarantine(notes: ScrubReport["quarantined"]): string {
  const last = notes.at(-1);
  const when = last === undefined ? "" : `, the last on ${new Date(last.noticedAt).toISOString()}`;
  return `${plural(notes.length, "row")} put out of use so far${when}`;
}
