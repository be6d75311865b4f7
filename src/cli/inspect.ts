import { openReader } from "../reader.js";
import type { ImageDetails, InspectedObject } from "../store/catalog.js";
import { formatBytes, printable, table } from "./output.js";
import type { VerbContext } from "./verb.js";

export async function run({ words, settings, output }: VerbContext): Promise<void> {
  const [reference = ""] = words;
  const reader = openReader({ directory: settings.directory });
  try {
    const image = reader.inspect(reference, { platform: settings.platform });
    output.result(image, () => describe(image));
  } finally {
    reader.close();
  }
}

function describe(image: ImageDetails): string {
  return [
    `${image.reference}\n`,
    table([
      ["  root digest", `${image.rootDigest}  ${image.rootMediaType}`],
      ["  manifest digest", image.manifestDigest],
      ...image.layers.map(({ digest, size }) => ["  layer digest", `${digest}  ${formatBytes(size)}`]),
      ...image.objects.map(({ digest, name, size }) => [
        "  object digest",
        `${digest}  ${printable(name)}, ${formatBytes(size)}`,
      ]),
      ["  platform", `${image.platform} (of ${image.platforms.join(", ")})`],
      ["  format", image.format],
      ["  pulled", `${image.pulledAt} from ${image.source}, checked ${image.checkedAt}`],
      ["  pinned", image.pinned ? "yes" : "no"],
      ...Object.entries(image.labels).map(([name, value]) => [
        "  label",
        `${printable(name)}=${printable(value)}`,
      ]),
      ...image.attachments.map(({ name, kind, size, digest }) => [
        "  attachment",
        `${digest}  ${printable(name)}, ${kind}, ${formatBytes(size)}`,
      ]),
      ...Object.entries(image.metadata ?? {}).flatMap(([name, value]) =>
        typeof value === "object" ? [] : [["  metadata", `${printable(name)}=${printable(String(value))}`]],
      ),
      ...image.warnings.map((warning) => ["  warning", printable(warning)]),
    ]),
    ...image.objects.map(describeObject),
  ].join("");
}

function describeObject(object: InspectedObject): string {
  return [
    `  ${printable(object.name)}  ${object.byteOrder}-endian, license ${printable(object.license ?? "none")}\n`,
    table([
      ...object.programs.map(({ name, type, section }) => [
        "    program",
        printable(name),
        type,
        printable(section),
      ]),
      ...object.maps.map(({ name, type }) => ["    map", printable(name), type, ""]),
      ...object.globals.map(({ name, section, size }) => [
        "    global",
        printable(name),
        formatBytes(size),
        printable(section),
      ]),
      ...object.sections
        .filter(({ name }) => name !== "")
        .map(({ name, size, type }) => ["    section", printable(name), formatBytes(size), type]),
    ]),
  ].join("");
}
