import { type Digest, digestOf } from "../../core/digest.js";
import { BpfcacheError } from "../../core/errors.js";
import type { LayerFile } from "../archive/file-collector.js";
import { readLayer } from "../archive/layer.js";
import { type ImageConfig, parseImageConfig } from "../config.js";
import { readBpfObject } from "../elf/bpf-object.js";
import { describeElf, isBpfElf } from "../elf/identify.js";
import { type BytecodeLabels, programTypesAgree, readBytecodeLabels } from "../labels.js";
import type { ImageManifest } from "../manifest.js";
import { mediaTypes } from "../media-types.js";
import type { ExtractedImage, ExtractedObject, ExtractOptions, ImageContent, ImageFormat } from "./format.js";

/**
 * A container image, OCI or Docker, with eBPF objects as files in its layers: bpfman's "backwards compatible" format
 * (one tar+gzip layer, the object at its root, labels in the config) and what ordinary builders make of it.
 */
export const containerFormat: ImageFormat = {
  recognizes(manifest: ImageManifest): boolean {
    return (
      manifest.config.mediaType === mediaTypes.ociConfig ||
      manifest.config.mediaType === mediaTypes.dockerConfig
    );
  },

  async extract(content: ImageContent, options: ExtractOptions): Promise<ExtractedImage> {
    const config = parseImageConfig(content.config);
    const labels = readBytecodeLabels(config.labels, options.limits);
    const files = await readLayers(content, config, options);
    const objects = chooseFiles(files, labels).map(toObject);
    return {
      format: labels === undefined ? "container" : "bpfman",
      platform: config.platform,
      labels: config.labels,
      objects,
      warnings: labels === undefined ? [] : disagreements(labels, objects),
    };
  },
};

interface FoundFile extends LayerFile {
  readonly layer: Digest;
  readonly description: string | undefined;
}

/** The files of all layers, each in the version of the last layer that has it, as an overlay would show them. */
async function readLayers(
  { layers }: ImageContent,
  { diffIds }: ImageConfig,
  { limits, signal }: ExtractOptions,
): Promise<FoundFile[]> {
  if (diffIds.length > 0 && diffIds.length !== layers.length) {
    throw new BpfcacheError(
      "INVALID_IMAGE",
      `the config names ${diffIds.length} layers, the manifest ${layers.length}`,
    );
  }
  const files = new Map<string, FoundFile>();
  for (const [index, { descriptor, bytes }] of layers.entries()) {
    const descriptions = new Map<string, string | undefined>();
    const keep = (path: string, head: Uint8Array): boolean => {
      descriptions.set(path, describeElf(head));
      return isBpfElf(head);
    };
    const layer = await readLayer(bytes, { limits, keep, signal });
    checkDiffId(descriptor.digest, layer.diffId, diffIds[index]);
    for (const file of layer.files) {
      files.set(file.path, { ...file, layer: descriptor.digest, description: descriptions.get(file.path) });
    }
  }
  return [...files.values()];
}

/** One gzip stream can unpack differently for different readers; the config says what must come out. */
function checkDiffId(layer: Digest, found: Digest, expected: Digest | undefined): void {
  if (expected === undefined || expected === found) return;
  throw new BpfcacheError(
    "DIGEST_MISMATCH",
    `the layer ${layer} unpacks to ${found}, the config names ${expected}`,
    {
      expected,
      found,
    },
  );
}

/** All eBPF objects, or the one that a label of the first generation names. */
function chooseFiles(files: readonly FoundFile[], labels: BytecodeLabels | undefined): FoundFile[] {
  const objects = files.filter(({ bytes }) => bytes !== undefined);
  const named = objects.filter(
    ({ path }) => path === labels?.filename || path.endsWith(`/${labels?.filename}`),
  );
  if (named.length > 0) return named;
  if (objects.length > 0) return objects;
  const there = files
    .slice(0, 5)
    .map(({ path, description }) => (description ? `${path} (${description})` : path));
  throw new BpfcacheError("INVALID_IMAGE", "the image holds no eBPF object", {
    found: there.join(", "),
    hint: there.length === 0 ? "Its layers are empty." : `It holds: ${there.join(", ")}.`,
  });
}

function toObject({ path, bytes = new Uint8Array(), layer }: FoundFile): ExtractedObject {
  try {
    return { name: path, layer, digest: digestOf(bytes), bytes, facts: readBpfObject(bytes) };
  } catch (error) {
    if (!(error instanceof BpfcacheError)) throw error;
    throw new BpfcacheError(error.code, `${path}: ${error.message}`, { cause: error });
  }
}

/** Labels are only claims: the object is believed, and what differs is told. */
function disagreements(labels: BytecodeLabels, objects: readonly ExtractedObject[]): string[] {
  const programs = objects.flatMap(({ facts }) => facts.programs);
  const maps = new Set(objects.flatMap(({ facts }) => facts.maps.map(({ name }) => name)));
  const warnings: string[] = [];
  for (const [name, type] of labels.programs) {
    const found = programs.find((program) => program.name === name);
    if (found === undefined) warnings.push(`the label names a program ${name} that no object has`);
    else if (!programTypesAgree(type, found.type)) {
      warnings.push(`the label calls program ${name} ${type}, its section makes it ${found.type}`);
    }
  }
  for (const name of labels.maps.keys()) {
    if (!maps.has(name)) warnings.push(`the label names a map ${name} that no object has`);
  }
  return warnings;
}
