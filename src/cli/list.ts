import { emit } from "../core/events.js";
import { formatPlatform } from "../core/platform.js";
import { openReader } from "../reader.js";
import type { CachedImage } from "../store/catalog.js";
import { programNames } from "./describe.js";
import { formatAge, formatBytes, type Output, plural } from "./output.js";
import { type Column, tableOf } from "./terminal/table.js";
import type { VerbContext } from "./verb.js";

const shortDigest = "sha256:".length + 12;

export async function run({ options, settings, output, onEvent }: VerbContext): Promise<void> {
  const reader = openReader({ directory: settings.directory });
  try {
    const filter = {
      program: options.value("program"),
      map: options.value("map"),
      type: options.value("type"),
      format: options.value("format"),
      platform: settings.platform && formatPlatform(settings.platform),
    };
    const incomplete: string[] = [];
    const images = reader.list(filter, (reference) => incomplete.push(reference));
    if (incomplete.length > 0) {
      const message = `${plural(incomplete.length, "damaged image")} not listed (${incomplete.join(", ")}); bpfcache scrub --repair brings back what can be`;
      emit(onEvent, { event: "warning", message });
    }
    output.result({ images }, () => describe(images, output));
  } finally {
    reader.close();
  }
}

const columns: readonly Column[] = [
  { heading: "REFERENCE", cut: { from: "middle", least: 12 } },
  { heading: "PLATFORM" },
  { heading: "ROOT", cut: { from: "end", least: 0 } },
  { heading: "SIZE", align: "right" },
  { heading: "PULLED", align: "right" },
  { heading: "PROGRAMS", cut: { from: "end", least: 8 } },
];

function describe(images: readonly CachedImage[], output: Output): string {
  if (images.length === 0) return "nothing is cached\n";
  const rows = images.map((image) => [
    image.reference,
    image.platform,
    image.rootDigest.slice(0, shortDigest),
    formatBytes(image.size),
    formatAge(image.pulledAt),
    programNames(image),
  ]);
  return tableOf(columns, rows, output);
}
