import { BpfcacheError } from "../core/errors.js";
import { formatPlatform, type Platform, platformFallbacks, samePlatform } from "../core/platform.js";
import type { Descriptor } from "./descriptor.js";
import type { ImageIndex } from "./manifest.js";

/**
 * The entry of an index to use for a platform: the first that names it or the nearest older variant; failing that,
 * the only entry that names no platform at all. Throws PLATFORM_MISMATCH, naming the platforms there are.
 */
export function selectPlatform(index: ImageIndex, wanted: Platform): Descriptor {
  const candidates = index.manifests.filter((entry) => !isAttestation(entry));
  for (const platform of platformFallbacks(wanted)) {
    const match = candidates.find(
      (entry) => entry.platform !== undefined && samePlatform(entry.platform, platform),
    );
    if (match !== undefined) return match;
  }
  const unnamed = candidates.filter((entry) => entry.platform === undefined);
  const [only] = unnamed;
  if (only !== undefined && unnamed.length === 1) return only;
  const available = platformsOf(index).join(", ") || "none that is named";
  throw new BpfcacheError(
    "PLATFORM_MISMATCH",
    `nothing for ${formatPlatform(wanted)}; the image has: ${available}`,
    {
      expected: formatPlatform(wanted),
      found: available,
      hint: "Ask for another one with --platform.",
    },
  );
}

/** The platforms an index names, in its order, each once, without BuildKit's attestation entries. */
export function platformsOf(index: ImageIndex): string[] {
  const names = index.manifests.flatMap((entry) =>
    entry.platform === undefined || isAttestation(entry) ? [] : [formatPlatform(entry.platform)],
  );
  return [...new Set(names)];
}

/** BuildKit files its attestations under the platform unknown/unknown. */
function isAttestation(entry: Descriptor): boolean {
  return (
    entry.annotations?.["vnd.docker.reference.type"] === "attestation-manifest" ||
    (entry.platform?.os === "unknown" && entry.platform.architecture === "unknown")
  );
}
