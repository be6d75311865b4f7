import type { PulledImage } from "../options.js";
import type { BatchResult } from "../pull/batch.js";
import type { CachedImage } from "../store/catalog.js";
import { formatBytes, formatDuration, plural, printable } from "./output.js";
import { table } from "./terminal/table.js";
import type { Tally } from "./terminal/tally.js";

/** A pulled image in a few lines: what it is by digest, what is in it, and what it took. */
export function describePulled(image: PulledImage): string {
  const { reference, platform, rootDigest, manifestDigest, from, requests, bytesFetched, trust } = image;
  const digests = [
    ["  root", rootDigest],
    ["  manifest", manifestDigest],
    ...image.objects.map(({ digest, name, size }) => [
      "  object",
      `${digest}  ${printable(name)}, ${formatBytes(size)}`,
    ]),
  ];
  return [
    `${reference}  ${platform}\n`,
    table(digests),
    `  programs  ${programNames(image)}\n`,
    trust === null ? "" : `  trust     ${trust.decision}: ${printable(trust.reason)}\n`,
    `  from ${from}: ${plural(requests, "request")}, ${formatBytes(bytesFetched)}\n`,
  ].join("");
}

export function programNames(image: CachedImage): string {
  return image.objects
    .flatMap(({ programs }) => programs.map(({ name, type }) => `${printable(name)} (${type})`))
    .join(", ");
}

/**
 * What became of many, in one line: each platform of an image counts. Failures have had theirs on stderr. Where files
 * are taken in, there are no requests to speak of.
 */
export function describeBatch(
  { images, failed }: BatchResult<PulledImage>,
  tally: Tally,
  isOfFiles = false,
): string {
  const requests = images.reduce((sum, image) => sum + image.requests, 0);
  const bytes = images.reduce((sum, image) => sum + image.bytesFetched, 0);
  const before = images.filter(({ from }) => from === "cache").length;
  const parts = [
    `${images.length} cached${before > 0 ? ` (${before} of them before)` : ""}`,
    failed.length > 0 ? `${failed.length} failed` : "",
    isOfFiles ? "" : plural(requests, "request"),
    tally.retries > 0 ? plural(tally.retries, "retry", "retries") : "",
    `${formatBytes(bytes)} in ${formatDuration(tally.elapsedMs())}`,
  ];
  return `${parts.filter(Boolean).join(", ")}\n`;
}
