import { BpfcacheError } from "../core/errors.js";
import { prometheusText } from "../serve/prometheus.js";
import type { ImageUsage, Usage } from "../store/disk-usage.js";
import { formatBytes, type Output, plural } from "./output.js";
import { sharedBar } from "./terminal/bar.js";
import { type Column, tableOf } from "./terminal/table.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

const barLength = 20;

export async function run(context: VerbContext): Promise<void> {
  const { options, output } = context;
  const format = options.value("format") ?? "text";
  if (format === "prometheus") {
    const metrics = await withCache(context, async (cache) => cache.metrics());
    return output.result(metrics, () => prometheusText(metrics));
  }
  if (format !== "text")
    throw new BpfcacheError("USAGE", `--format takes text or prometheus, not ${JSON.stringify(format)}`);
  const usage = await withCache(context, async (cache) => cache.usage());
  output.result(usage, () => describe(usage, output));
}

function describe(usage: Usage, output: Output): string {
  return [
    usage.images.length === 0 ? "nothing is cached\n" : describeImages(usage.images, output),
    totals(usage),
  ].join("");
}

const columns: readonly Column[] = [
  { heading: "REFERENCE", cut: { from: "middle", least: 12 } },
  { heading: "PLATFORM" },
  { heading: "NEEDS", align: "right" },
  { heading: "ALONE", align: "right" },
  { heading: "" },
];

/** The largest first, each with a bar: what is its own, and, lighter, what it shares. */
function describeImages(images: readonly ImageUsage[], output: Output): string {
  const sorted = [...images].sort((a, b) => b.bytes - a.bytes);
  const largest = Math.max(1, sorted[0]?.bytes ?? 0);
  // On a narrow terminal the names need the room more.
  const length = output.width < 100 ? barLength / 2 : barLength;
  const rows = sorted.map(({ reference, platform, bytes, uniqueBytes }) => [
    reference,
    platform,
    formatBytes(bytes),
    formatBytes(uniqueBytes),
    sharedBar(bytes / largest, uniqueBytes / largest, length),
  ]);
  return tableOf(columns, rows, output);
}

function totals({ images, bytes, uniqueBytes, fileBytes, freeBytes, limits }: Usage): string {
  const lines = [
    `${plural(images.length, "image")}, ${formatBytes(bytes)}: ${formatBytes(uniqueBytes)} needed by one alone, the rest shared`,
    `on disk ${formatBytes(fileBytes)}, ${formatBytes(freeBytes)} of it free`,
  ];
  if (limits !== null) {
    const { maxBytes, highBytes, lowBytes } = limits;
    lines.push(
      `may take ${formatBytes(maxBytes)}: above ${formatBytes(highBytes)} evicts down to ${formatBytes(lowBytes)}`,
    );
  }
  return `${lines.join("\n")}\n`;
}
