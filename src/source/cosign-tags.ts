import { type Digest, digestAlgorithm, digestHex } from "../core/digest.js";

const suffixes = [".sig", ".att", ".sbom"] as const;

/**
 * cosign's older way, and still its default: what it makes of an image is under tags made of the image's digest. A tag
 * has at most 128 characters (distribution-spec, "Pulling manifests"), too few for sha512 and a suffix.
 */
export function cosignTagsOf(subject: Digest): readonly string[] {
  if (digestAlgorithm(subject) !== "sha256") return [];
  return suffixes.map((suffix) => `sha256-${digestHex(subject)}${suffix}`);
}
