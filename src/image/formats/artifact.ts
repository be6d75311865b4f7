import { parseImageConfig } from "../config.js";
import { readBytecodeLabels } from "../labels.js";
import { annotationLabels, attach, titleOf } from "./annotations.js";
import { BlobReader, type Expectation, type FoundFile, holdsNoObject, toObject } from "./blob-files.js";
import { isImageConfig } from "./container.js";
import { disagreements } from "./cross-check.js";
import type {
  Attachment,
  ExtractedImage,
  ExtractedObject,
  ExtractOptions,
  ImageContent,
  ImageFormat,
} from "./format.js";
import { defaultObjectName } from "./object-names.js";

/**
 * Any other manifest: one eBPF object or several as raw or compressed layers, as `oras push` makes of files, or in
 * archives or WebAssembly modules. Told by content, whatever the media types say. The last format to be tried.
 */
export const artifactFormat: ImageFormat = {
  recognizes: () => true,

  async extract(content: ImageContent, options: ExtractOptions): Promise<ExtractedImage> {
    const { objects, attachments } = await readArtifact(content, options, {
      what: "the artifact",
      expected: "anything",
    });
    const { manifest } = content;
    const config = isImageConfig(manifest.config.mediaType) ? parseImageConfig(content.config) : undefined;
    const labels = { ...config?.labels, ...annotationLabels(manifest) };
    const claims = readBytecodeLabels(labels, options.limits);
    return {
      format: "artifact",
      platform: config?.platform,
      labels,
      objects,
      attachments,
      disagreements: claims && disagreements(claims, objects),
    };
  },
};

/** How a format of raw layers reads them, and what it calls an image in messages. */
interface ArtifactKind {
  readonly what: string;
  readonly expected: Expectation;
  /** Added to the refusal of an image without objects. */
  readonly hint?: string | undefined;
}

/** The objects of all layers, by title or path, and the layers that hold none. Throws INVALID_IMAGE when none does. */
export async function readArtifact(
  { layers }: ImageContent,
  options: ExtractOptions,
  { what, expected, hint }: ArtifactKind,
): Promise<{ readonly objects: readonly ExtractedObject[]; readonly attachments: readonly Attachment[] }> {
  const reader = new BlobReader(options);
  const files: FoundFile[] = [];
  const objects: ExtractedObject[] = [];
  const attachments: Attachment[] = [];
  for (const layer of layers) {
    const { descriptor } = layer;
    const name = titleOf(descriptor) ?? defaultObjectName;
    const contents = await reader.read(layer, name, expected);
    const found = contents.files.filter(({ bytes }) => bytes !== undefined);
    objects.push(...found.map((file) => toObject(file, descriptor.digest)));
    files.push(...contents.files);
    const isWasm = contents.kind === "wasm";
    if (isWasm || found.length === 0) {
      const fallback = isWasm ? "program.wasm" : "layer";
      attachments.push(attach(descriptor, isWasm ? "wasm" : "other", titleOf(descriptor) ?? fallback));
    }
  }
  if (objects.length === 0) throw holdsNoObject(what, files, hint);
  return { objects, attachments };
}
