import type { ImageManifest } from "../manifest.js";
import { annotationLabels, attach, titleOf } from "./annotations.js";
import { readArtifact } from "./artifact.js";
import type { ExtractedImage, ExtractOptions, ImageContent, ImageFormat } from "./format.js";

const programType = "application/ebpf.oci.image.program.v1+binary";
const configType = "application/ebpf.oci.image.config.v1+json";

/** BumbleBee's: the object as one raw layer with the title `program.o`, and a `config.json`; never a platform. */
export const bumblebeeFormat: ImageFormat = {
  recognizes({ config, layers }: ImageManifest): boolean {
    return config.mediaType === configType || layers.some(({ mediaType }) => mediaType === programType);
  },

  async extract(content: ImageContent, options: ExtractOptions): Promise<ExtractedImage> {
    const { manifest } = content;
    const { objects, attachments } = await readArtifact(content, options, {
      what: "the BumbleBee image",
      expected: "anything",
    });
    const config = attach(manifest.config, "metadata", titleOf(manifest.config) ?? "config.json");
    return {
      format: "bumblebee",
      platform: undefined,
      labels: annotationLabels(manifest),
      objects,
      attachments: [config, ...attachments],
      // bumblebee#44: an object that reads registers fails on any machine but its builder's kind.
      warnings:
        options.entryPlatform === undefined ? ["the image does not say what architecture it is for"] : [],
    };
  },
};
