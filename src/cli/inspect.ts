import type { Digest } from "../core/digest.js";
import { openReader } from "../reader.js";
import type { ImageDetails, InspectedObject } from "../store/catalog.js";
import { formatBytes, printable } from "./output.js";
import type { Style } from "./terminal/style.js";
import { renderTree, type TreeNode } from "./tree.js";
import type { VerbContext } from "./verb.js";

export async function run({ words, settings, output }: VerbContext): Promise<void> {
  const [reference = ""] = words;
  const reader = openReader({ directory: settings.directory });
  try {
    const image = reader.inspect(reference, { platform: settings.platform });
    output.result(image, () => describe(image, output.style));
  } finally {
    reader.close();
  }
}

function describe(image: ImageDetails, style: Style): string {
  const children: TreeNode[] = [
    { cells: ["root digest", `${image.rootDigest}  ${image.rootMediaType}`] },
    { cells: ["manifest digest", image.manifestDigest] },
    ...image.layers.map(({ digest, size, isCached }) => ({
      cells: ["layer digest", `${digest}  ${formatBytes(size)}${isCached ? "" : ", not here"}`],
    })),
    { cells: ["platform", `${image.platform} (of ${image.platforms.join(", ")})`] },
    { cells: ["format", image.format] },
    { cells: ["pulled", `${image.pulledAt} from ${image.source}, checked ${image.checkedAt}`] },
    { cells: ["pinned", image.pinned ? "yes" : "no"] },
    ...pairs("label", image.labels),
    ...pairs("metadata", image.metadata ?? {}),
    ...image.attachments.map(({ name, kind, size, digest }) => ({
      cells: ["attachment", `${digest}  ${printable(name)}, ${kind}, ${formatBytes(size)}`],
    })),
    ...referrersTo([image.rootDigest, image.manifestDigest], image.referrers),
    ...image.verdicts.map(({ decision, reason, rule, decidedAt }) => ({
      cells: [
        "trust",
        `${decision}: ${printable(reason)} (rule ${printable(rule ?? "default")}, ${decidedAt})`,
      ],
    })),
    ...image.warnings.map((warning) => ({ cells: ["warning", printable(warning)] })),
    ...image.objects.map(describeObject),
  ];
  return renderTree({ cells: [image.reference], children }, style);
}

/** Below each, what refers to it in turn. */
function referrersTo(subjects: readonly Digest[], all: ImageDetails["referrers"]): TreeNode[] {
  return all
    .filter(({ subject }) => subjects.includes(subject))
    .map(({ digest, kind, artifactType, tag }) => {
      const named = kind === undefined ? printable(artifactType) : `${kind}, ${printable(artifactType)}`;
      const tagged = tag === undefined ? "" : `, tag ${printable(tag)}`;
      return {
        cells: ["referrer", `${digest}  ${named}${tagged}`],
        children: referrersTo([digest], all),
      };
    });
}

/** What is no object or list itself, a line each. */
function pairs(title: string, values: Readonly<Record<string, unknown>>): TreeNode[] {
  return Object.entries(values)
    .filter(([, value]) => typeof value !== "object")
    .map(([name, value]) => ({ cells: [title, `${printable(name)}=${printable(String(value))}`] }));
}

function describeObject(object: InspectedObject): TreeNode {
  const { name, digest, size, byteOrder, license } = object;
  const about = `${printable(name)}, ${formatBytes(size)}, ${byteOrder}-endian, license ${printable(license ?? "none")}`;
  return {
    cells: ["object digest", `${digest}  ${about}`],
    children: [
      ...object.programs.map((program) => ({
        cells: ["program", printable(program.name), program.type, printable(program.section)],
      })),
      ...object.maps.map((map) => ({ cells: ["map", printable(map.name), map.type, ""] })),
      ...object.globals.map((global) => ({
        cells: [
          "global",
          printable(global.name),
          printable(global.type ?? formatBytes(global.size)),
          printable(global.section),
        ],
      })),
      ...object.sections
        .filter((section) => section.name !== "")
        .map((section) => ({
          cells: ["section", printable(section.name), formatBytes(section.size), section.type],
        })),
    ],
  };
}
