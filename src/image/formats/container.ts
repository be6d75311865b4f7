import type { Digest } from "../../core/digest.js";
import { BpfcacheError } from "../../core/errors.js";
import { type ImageConfig, parseImageConfig } from "../config.js";
import { type BytecodeLabels, readBytecodeLabels } from "../labels.js";
import type { ImageManifest } from "../manifest.js";
import { mediaTypes } from "../media-types.js";
import { titleOf } from "./annotations.js";
import { BlobReader, type FoundFile, holdsNoObject, isWhiteout, toObject } from "./blob-files.js";
import { disagreements } from "./cross-check.js";
import type { ExtractedImage, ExtractOptions, ImageContent, ImageFormat } from "./format.js";
import { defaultObjectName } from "./object-names.js";

/**
 * A container image, OCI or Docker, with eBPF objects as files in its layers: bpfman's "backwards compatible" format
 * (one tar+gzip layer, the object at its root, labels in the config) and what ordinary builders make of it.
 */
export const containerFormat: ImageFormat = {
  recognizes({ config, layers }: ImageManifest): boolean {
    return isImageConfig(config.mediaType) && layers.every(({ mediaType }) => isImageLayer(mediaType));
  },

  async extract(content: ImageContent, options: ExtractOptions): Promise<ExtractedImage> {
    const config = parseImageConfig(content.config);
    const labels = readBytecodeLabels(config.labels, options.limits);
    const { files, hasArchive } = await readLayers(content, config, options);
    const objects = chooseFiles(files, labels).map((file) => toObject(file, file.layer));
    return {
      // oras calls any file it pushes a tar layer unless it is told otherwise.
      format: labels !== undefined ? "bpfman" : hasArchive ? "container" : "artifact",
      platform: config.platform,
      labels: config.labels,
      objects,
      disagreements: labels && disagreements(labels, objects),
    };
  },
};

export function isImageConfig(mediaType: string): boolean {
  return mediaType === mediaTypes.ociConfig || mediaType === mediaTypes.dockerConfig;
}

function isImageLayer(mediaType: string): boolean {
  return /^application\/vnd\.(oci\.image\.layer|docker\.image\.rootfs)\./.test(mediaType);
}

interface OverlayFile extends FoundFile {
  readonly layer: Digest;
}

interface Overlay {
  readonly files: readonly OverlayFile[];
  readonly hasArchive: boolean;
}

/** The files of all layers, each in the version of the last layer that has it, as an overlay would show them. */
async function readLayers(
  { layers }: ImageContent,
  { diffIds }: ImageConfig,
  options: ExtractOptions,
): Promise<Overlay> {
  if (diffIds.length > 0 && diffIds.length !== layers.length) {
    throw new BpfcacheError(
      "INVALID_IMAGE",
      `the config names ${diffIds.length} layers, the manifest ${layers.length}`,
    );
  }
  const reader = new BlobReader(options);
  const files = new Map<string, OverlayFile>();
  let hasArchive = layers.length === 0;
  for (const [index, layer] of layers.entries()) {
    const { digest } = layer.descriptor;
    const contents = await reader.read(layer, titleOf(layer.descriptor) ?? defaultObjectName, "archive");
    checkDiffId(digest, contents.diffId, diffIds[index]);
    hasArchive ||= contents.kind === "archive";
    hide(files, contents.files);
    for (const file of contents.files) {
      if (!isWhiteout(file.name)) files.set(file.name, { ...file, layer: digest });
    }
  }
  return { files: [...files.values()], hasArchive };
}

/** Takes away what a layer's whiteouts hide of the layers below it (OCI image-spec, layer.md, "Whiteouts"). */
function hide(below: Map<string, OverlayFile>, layer: readonly FoundFile[]): void {
  const hidden = new Set(layer.filter(({ name }) => isWhiteout(name)).map(({ name }) => hiddenBy(name)));
  if (hidden.size === 0) return;
  for (const path of below.keys()) if (isBelow(hidden, path)) below.delete(path);
}

function isBelow(hidden: ReadonlySet<string>, path: string): boolean {
  if (hidden.has("") || hidden.has(path)) return true;
  for (let at = path.indexOf("/"); at >= 0; at = path.indexOf("/", at + 1)) {
    if (hidden.has(path.slice(0, at))) return true;
  }
  return false;
}

/** The path that a whiteout hides with all below it; an opaque one hides what its own directory holds. */
function hiddenBy(whiteout: string): string {
  const at = whiteout.lastIndexOf("/") + 1;
  if (whiteout.endsWith(".wh..wh..opq")) return whiteout.slice(0, Math.max(at - 1, 0));
  return whiteout.slice(0, at) + whiteout.slice(at + ".wh.".length);
}

/** One gzip stream can unpack differently for different readers; the config says what must come out. */
function checkDiffId(layer: Digest, found: Digest | undefined, expected: Digest | undefined): void {
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
function chooseFiles(files: readonly OverlayFile[], labels: BytecodeLabels | undefined): OverlayFile[] {
  const objects = files.filter(({ bytes }) => bytes !== undefined);
  const named = objects.filter(
    ({ name }) => name === labels?.filename || name.endsWith(`/${labels?.filename}`),
  );
  if (named.length > 0) return named;
  if (objects.length > 0) return objects;
  throw holdsNoObject("the image", files);
}
