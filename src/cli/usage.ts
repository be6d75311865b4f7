import { BpfcacheError } from "../core/errors.js";
import { prometheusText } from "../serve/prometheus.js";
import type { ImageUsage, Usage } from "../store/disk-usage.js";
import { formatBytes, plural, table } from "./output.js";
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
  output.result(usage, () => describe(usage));
}

function describe(usage: Usage): string {
  return [
    usage.images.length === 0 ? "nothing is cached\n" : describeImages(usage.images),
    totals(usage),
  ].join("");
}

/** The largest first, each with a bar: what is its own, and, lighter, what it shares. */
function describeImages(images: readonly ImageUsage[]): string {
  const sorted = [...images].sort((a, b) => b.bytes - a.bytes);
  const largest = Math.max(1, sorted[0]?.bytes ?? 0);
  return table([
    ["REFERENCE", "PLATFORM", "NEEDS", "ALONE", ""],
    ...sorted.map(({ reference, platform, bytes, uniqueBytes }) => [
      reference,
      platform,
      formatBytes(bytes),
      formatBytes(uniqueBytes),
      bar(bytes / largest, uniqueBytes / largest),
    ]),
  ]);
}

function bar(whole: number, own: number): string {
  const ownLength = Math.round(own * barLength);
  return "█".repeat(ownLength) + "░".repeat(Math.max(1, Math.round(whole * barLength)) - ownLength);
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
