import type { Digest } from "../../src/core/digest.js";
import type { PublishedReferrer } from "../../src/store/referrers.js";
import { type ArtifactOptions, artifact } from "./artifact-builder.js";
import { content } from "./image-builder.js";

export interface ReferrerOptions extends ArtifactOptions {
  readonly tag?: string;
}

/** A document about a manifest, by default one bundle, as the puller hands it to the store. */
export function publishedReferrer(subject: Digest, options: ReferrerOptions = {}): PublishedReferrer {
  const { artifactType = "application/vnd.dev.sigstore.bundle.v0.3+json", tag } = options;
  const about = { ...content("", "application/vnd.oci.image.manifest.v1+json"), digest: subject };
  const layers = [{ mediaType: artifactType, bytes: "{}" }];
  const { manifest, config, layers: blobs } = artifact({ artifactType, layers, subject: about, ...options });
  const entryOf = ({ digest, mediaType, size }: typeof config) => ({ digest, mediaType, size });
  return {
    record: {
      subject,
      artifactType,
      ...entryOf(manifest),
      tag,
      blobs: [
        { kind: "config", ...entryOf(config) },
        ...blobs.map((blob) => ({ kind: "layer" as const, ...entryOf(blob) })),
      ],
    },
    manifest: manifest.bytes,
    blobs: [config, ...blobs].map(({ bytes }) => bytes),
  };
}
