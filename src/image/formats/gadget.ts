import { BpfcacheError } from "../../core/errors.js";
import type { ImageManifest } from "../manifest.js";
import { mediaTypes } from "../media-types.js";
import { annotationLabels, attach, titleOf } from "./annotations.js";
import { BlobReader, type FoundFile, holdsNoObject, toObject } from "./blob-files.js";
import type {
  Attachment,
  ExtractedImage,
  ExtractedObject,
  ExtractOptions,
  ImageContent,
  ImageFormat,
  ImageLayer,
} from "./format.js";
import { gadgetDisagreements, readGadgetMetadata } from "./gadget-metadata.js";
import { defaultObjectName } from "./object-names.js";

const gadgetTypes = {
  artifact: "application/vnd.gadget.v1+binary",
  config: "application/vnd.gadget.config.v1+yaml",
  program: "application/vnd.gadget.ebpf.program.v1+binary",
  wasm: "application/vnd.gadget.wasm.program.v1+binary",
  btfgen: "application/vnd.gadget.btfgen.v1+binary",
} as const;

const gadgetType = /^application\/vnd\.gadget\./;

/**
 * An Inspektor Gadget image: the object as a raw layer, and beside it, each at most once, a WebAssembly module that
 * processes what it reports, BTF for kernels without, and metadata in YAML as the config.
 */
export const gadgetFormat: ImageFormat = {
  recognizes({ artifactType = "", config, layers }: ImageManifest): boolean {
    return [artifactType, config.mediaType, ...layers.map(({ mediaType }) => mediaType)].some((type) =>
      gadgetType.test(type),
    );
  },

  async extract(content: ImageContent, options: ExtractOptions): Promise<ExtractedImage> {
    const { manifest, layers } = content;
    const objects = await readPrograms(layers, options);
    const metadata =
      manifest.config.mediaType === gadgetTypes.config
        ? await readGadgetMetadata(content.config, options.limits)
        : undefined;
    return {
      format: "gadget",
      platform: undefined,
      labels: annotationLabels(manifest),
      objects,
      attachments: describeRest(content),
      metadata,
      disagreements: metadata && gadgetDisagreements(metadata, objects),
    };
  },
};

async function readPrograms(
  layers: readonly ImageLayer[],
  options: ExtractOptions,
): Promise<ExtractedObject[]> {
  const reader = new BlobReader(options);
  const objects: ExtractedObject[] = [];
  for (const layer of layers.filter(isProgram)) {
    const { descriptor } = layer;
    const { files } = await reader.read(layer, titleOf(descriptor) ?? defaultObjectName, "anything");
    const found = files.filter(({ bytes }) => bytes !== undefined);
    if (found.length === 0) throw holdsNoObject("the gadget's program layer", files);
    objects.push(...found.map((file) => toObject(file, descriptor.digest)));
  }
  if (objects.length > 0) return objects;
  if (layers.length === 0) {
    throw new BpfcacheError("INVALID_IMAGE", "the gadget has no layers, so it holds no eBPF object");
  }
  throw holdsNoObject("the gadget", layers.map(asFile));
}

function isProgram({ descriptor }: ImageLayer): boolean {
  return descriptor.mediaType === gadgetTypes.program;
}

function asFile({ descriptor }: ImageLayer): FoundFile {
  return { name: nameOf(descriptor.mediaType), bytes: undefined, description: descriptor.mediaType };
}

function describeRest({ manifest, layers }: ImageContent): Attachment[] {
  const { config } = manifest;
  const rest = layers
    .filter((layer) => !isProgram(layer))
    .map(({ descriptor }) =>
      attach(descriptor, kindOf(descriptor.mediaType), titleOf(descriptor) ?? nameOf(descriptor.mediaType)),
    );
  // Its title annotation is the gadget's name in some versions and the file's in others.
  return config.mediaType === mediaTypes.ociEmpty
    ? rest
    : [attach(config, "metadata", "gadget.yaml"), ...rest];
}

function kindOf(mediaType: string): Attachment["kind"] {
  if (mediaType === gadgetTypes.wasm) return "wasm";
  return mediaType === gadgetTypes.btfgen ? "btf" : "other";
}

/** The files that `ig image build` made the layers of. */
function nameOf(mediaType: string): string {
  if (mediaType === gadgetTypes.wasm) return "program.wasm";
  return mediaType === gadgetTypes.btfgen ? "btfs.tar.gz" : "layer";
}
