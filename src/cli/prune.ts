import { BpfcacheError } from "../core/errors.js";
import type { RemovalReason, Removed } from "../store/evict.js";
import type { PruneResult } from "../store/prune.js";
import { formatBytes, type Output } from "./output.js";
import { parseDuration } from "./settings.js";
import { parseSize } from "./size.js";
import { type Column, tableOf } from "./terminal/table.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

const reasons: Readonly<Record<RemovalReason, string>> = {
  size: "least recently used",
  age: "not used for long",
  "keep-last": "newer ones stay",
  layers: "layer; its objects stay",
  unreferenced: "no reference needs it: damage",
};

export async function run(context: VerbContext): Promise<void> {
  const { options, output, signal } = context;
  const maxSize = options.value("max-size");
  const olderThan = options.value("older-than");
  const keepLast = options.value("keep-last");
  const dryRun = options.isSet("dry-run");
  const request = {
    // BPFCACHE_MAX_SIZE is the budget of pulls; here only what is asked for goes.
    maxBytes: maxSize === undefined ? undefined : parseSize(maxSize),
    olderThanMs: olderThan === undefined ? undefined : parseDuration(olderThan),
    keepLast: keepLast === undefined ? undefined : parseCount(keepLast),
    unreferenced: options.isSet("unreferenced"),
    dropLayers: options.isSet("drop-layers"),
    dryRun,
    signal,
  };
  const result = await withCache(context, (cache) => cache.prune(request));
  output.result(result, () => describe(result, dryRun, output));
}

const columns: readonly Column[] = [
  { heading: "REMOVED", cut: { from: "middle", least: 16 } },
  { heading: "PLATFORM" },
  { heading: "FREED", align: "right" },
  { heading: "WHY" },
];

function describe({ removed, bytesFreed }: PruneResult, isDryRun: boolean, output: Output): string {
  if (removed.length === 0) return "nothing to remove\n";
  const rows = removed.map((each) => [
    nameOf(each),
    each.platform ?? "",
    formatBytes(each.bytes),
    reasons[each.reason],
  ]);
  const sum = isDryRun
    ? `${removed.length} would go and free ${formatBytes(bytesFreed)}; nothing was changed\n`
    : `${removed.length} removed, ${formatBytes(bytesFreed)} freed\n`;
  return `${tableOf(columns, rows, output)}${sum}`;
}

function nameOf({ reference, digest }: Removed): string {
  return reference ?? digest ?? "";
}

function parseCount(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new BpfcacheError("USAGE", `--keep-last takes a whole number, not ${JSON.stringify(text)}`);
}
