import { type ExportFormat, exportFormats } from "../bundle/bundle.js";
import type { ExportResult } from "../bundle/export.js";
import { BpfcacheError } from "../core/errors.js";
import { formatBytes, plural } from "./output.js";
import type { VerbContext } from "./verb.js";
import { requireAllTaken, withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, options, settings, output, signal } = context;
  const path = options.value("output");
  if (path === undefined)
    throw new BpfcacheError("USAGE", "export needs -o PATH", { hint: "- is standard output." });
  const isStream = path === "-";
  if (isStream) requirePipe(output.isJson);
  const { platforms } = settings;
  const since = options.value("since");
  const result = await withCache(context, (cache) =>
    cache.export(words, {
      output: isStream ? process.stdout : path,
      format: parseFormat(options.value("format")),
      all: options.isSet("all"),
      platforms: platforms.length === 0 ? undefined : platforms,
      since,
      lock: options.value("lock"),
      overwrite: options.isSet("overwrite"),
      signal,
    }),
  );
  if (!isStream) output.result(result, () => describe(result, since));
  requireAllTaken(result, result.images.length + result.failed.length, signal);
}

function requirePipe(isJson: boolean): void {
  if (isJson) {
    throw new BpfcacheError("USAGE", "--json and the archive cannot share standard output", {
      hint: "Name a file with -o.",
    });
  }
  if (process.stdout.isTTY) {
    throw new BpfcacheError("USAGE", "the archive is binary and standard output is a terminal", {
      hint: "Name a file with -o.",
    });
  }
}

function parseFormat(text: string | undefined): ExportFormat | undefined {
  const format = exportFormats.find((name) => name === text);
  if (format !== undefined || text === undefined) return format;
  throw new BpfcacheError("USAGE", `--format takes ${exportFormats.join(", ")}, not ${JSON.stringify(text)}`);
}

/** What was written, in a line, and a line for each image of which something is absent. */
function describe({ output, format, images, bytes }: ExportResult, since: string | undefined): string {
  const absent = images.filter(({ missing }) => missing.length > 0);
  const carried = since === undefined ? images : images.filter((image) => image.bytes > 0);
  const rest = since === undefined ? "" : `; nothing new since ${since} of ${images.length - carried.length}`;
  return [
    `${plural(carried.length, "image")} in ${output} (${format}), ${formatBytes(bytes)}${rest}\n`,
    ...absent.map(
      ({ reference, platforms, missing }) =>
        `  ${reference} has ${platforms.join(", ")}; not cached: ${missing.map(nameOf).join(", ")}\n`,
    ),
  ].join("");
}

function nameOf({ platform, digest }: ExportResult["images"][number]["missing"][number]): string {
  return platform ?? digest;
}
