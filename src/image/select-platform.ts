import { BpfcacheError } from "../core/errors.js";
import { formatPlatform, type Platform, platformFallbacks, samePlatform } from "../core/platform.js";
import type { Descriptor } from "./descriptor.js";
import { isStatement, listsOnlyStatements } from "./formats/signature.js";
import type { ImageIndex } from "./manifest.js";

/**
 * The entry of an index to use for a platform: the first that names it or the nearest older variant; failing that,
 * the only entry that names no platform at all. Throws PLATFORM_MISMATCH, naming the platforms there are, or
 * INVALID_IMAGE when the index lists only signatures and the like.
 */
export function selectPlatform(index: ImageIndex, wanted: Platform): Descriptor {
  if (listsOnlyStatements(index)) {
    throw new BpfcacheError("INVALID_IMAGE", "this is a list of signatures and attestations, not an image", {
      hint: "Pull the image itself: what is signed and attested of it goes with it.",
    });
  }
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

/** The platform that an index names for a manifest; undefined when it names none, or several for the one. */
export function platformOfEntry(
  index: ImageIndex,
  { digest }: Pick<Descriptor, "digest">,
): Platform | undefined {
  const entries = index.manifests.filter((entry) => entry.digest === digest && entry.platform !== undefined);
  const [first] = entries;
  const names = new Set(entries.flatMap(({ platform }) => (platform ? [formatPlatform(platform)] : [])));
  return names.size === 1 ? first?.platform : undefined;
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
    isStatement(entry) ||
    entry.annotations?.["vnd.docker.reference.type"] === "attestation-manifest" ||
    (entry.platform?.os === "unknown" && entry.platform.architecture === "unknown")
  );
}
