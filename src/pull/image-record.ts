import { formatPlatform } from "../core/platform.js";
import type { ExtractedImage } from "../image/formats/format.js";
import type { ImageManifest } from "../image/manifest.js";
import type { ImageRecord } from "../store/records.js";

/** What the store keeps of an extracted image beside its bytes. */
export function toRecord(manifest: ImageManifest, image: ExtractedImage): ImageRecord {
  const { mediaType, digest, size } = manifest.config;
  return {
    format: image.format,
    platform: image.platform && formatPlatform(image.platform),
    config: { mediaType, digest, size },
    layers: manifest.layers.map((layer) => ({
      digest: layer.digest,
      mediaType: layer.mediaType,
      size: layer.size,
    })),
    objects: image.objects.map(({ name, layer, digest: object, bytes, facts }) => ({
      name,
      digest: object,
      size: bytes.byteLength,
      layer,
      byteOrder: facts.byteOrder,
      programs: facts.programs.map((program) => ({
        name: program.name,
        type: program.type,
        section: program.section,
      })),
    })),
    maps: image.objects.map(({ facts }) => facts.maps.map(({ name, type }) => ({ name, type }))),
    labels: image.labels,
    attachments: image.attachments,
    metadata: image.metadata,
    disagreements: image.disagreements,
    warnings: warningsOf(image),
  };
}

export function warningsOf({ disagreements = [], warnings = [] }: ExtractedImage): string[] {
  return [...disagreements, ...warnings];
}
