import { BpfcacheError } from "../../core/errors.js";
import type { ExtractedImage, ImageContent, ImageFormat } from "./format.js";

/** Artifacts that people mix up with images and that never hold eBPF, by the beginning of their types. */
const kinds: readonly (readonly [prefix: string, what: string])[] = [
  ["application/vnd.cncf.helm", "a Helm chart"],
  ["application/vnd.cncf.flux", "a Flux artifact"],
  ["application/vnd.cncf.openpolicyagent", "an Open Policy Agent bundle"],
  ["application/vnd.cncf.model", "a machine-learning model"],
  ["application/vnd.docker.plugin", "a Docker plugin"],
];

/** Known to hold no eBPF object by its type alone: refused before anything of it is fetched. */
export const otherArtifactFormat: ImageFormat = {
  recognizes: ({ artifactType, config }) => whatIs(artifactType ?? config.mediaType) !== undefined,

  refusal: ({ artifactType, config }) => refusal(artifactType ?? config.mediaType),

  async extract({ manifest }: ImageContent): Promise<ExtractedImage> {
    throw refusal(manifest.artifactType ?? manifest.config.mediaType);
  },
};

function refusal(mediaType: string): BpfcacheError {
  return new BpfcacheError(
    "INVALID_IMAGE",
    `this is ${whatIs(mediaType) ?? "another artifact"} (${mediaType}), not an image of eBPF objects`,
  );
}

function whatIs(mediaType: string): string | undefined {
  return kinds.find(([prefix]) => mediaType.startsWith(prefix))?.[1];
}
