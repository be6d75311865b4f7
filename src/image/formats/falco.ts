import type { ImageManifest } from "../manifest.js";
import { annotationLabels, attach } from "./annotations.js";
import { readArtifact } from "./artifact.js";
import type { ExtractedImage, ExtractOptions, ImageContent, ImageFormat } from "./format.js";

const falcoType = /^application\/vnd\.cncf\.falco\.(\w+)\./;

/**
 * What falcoctl ships: a rules file, a plugin or an asset as one tar.gz, spelled `+tar.gz` in the media type. Most hold
 * no eBPF object, and the refusal says what they hold.
 */
export const falcoFormat: ImageFormat = {
  recognizes: (manifest) => kindOf(manifest) !== undefined,

  async extract(content: ImageContent, options: ExtractOptions): Promise<ExtractedImage> {
    const { manifest } = content;
    const { objects, attachments } = await readArtifact(content, options, {
      what: `the Falco ${kindOf(manifest)}`,
      expected: "archive",
    });
    return {
      format: "falco",
      platform: undefined,
      labels: annotationLabels(manifest),
      objects,
      attachments: [attach(manifest.config, "metadata", "config.json"), ...attachments],
    };
  },
};

function kindOf({ config, layers }: ImageManifest): string | undefined {
  for (const { mediaType } of [...layers, config]) {
    const [, kind] = falcoType.exec(mediaType) ?? [];
    if (kind !== undefined) return kind;
  }
  return undefined;
}
