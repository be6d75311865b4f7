import { BpfcacheError } from "../core/errors.js";
import { type ByteOrder, byteOrderOf, formatPlatform, type Platform } from "../core/platform.js";
import { artifactFormat } from "./formats/artifact.js";
import { bumblebeeFormat } from "./formats/bumblebee.js";
import { containerFormat } from "./formats/container.js";
import { requireAgreement } from "./formats/cross-check.js";
import { falcoFormat } from "./formats/falco.js";
import type { ExtractedImage, ExtractOptions, ImageContent, ImageFormat } from "./formats/format.js";
import { gadgetFormat } from "./formats/gadget.js";
import { withSafeNames } from "./formats/object-names.js";
import { otherArtifactFormat } from "./formats/other-artifact.js";
import { signatureFormat } from "./formats/signature.js";
import { wasmFormat } from "./formats/wasm.js";
import type { ImageManifest } from "./manifest.js";

/** In the order they are tried. cosign's signatures have a container image's config, so what is no image comes first. */
const formats: readonly ImageFormat[] = [
  signatureFormat,
  otherArtifactFormat,
  containerFormat,
  gadgetFormat,
  bumblebeeFormat,
  wasmFormat,
  falcoFormat,
];

/** The format of an image, known before any of its content is fetched. Throws INVALID_IMAGE when it is no image. */
export function formatOf(manifest: ImageManifest): ImageFormat {
  const foreign = manifest.layers.find(
    ({ urls, mediaType }) => (urls?.length ?? 0) > 0 || isForeign(mediaType),
  );
  if (foreign !== undefined) {
    throw new BpfcacheError(
      "INVALID_IMAGE",
      `the layer ${foreign.digest} lies outside the registry (${foreign.mediaType})`,
      {
        hint: "Foreign layers are not fetched: their servers are not the registry that was named (CVE-2020-15157).",
      },
    );
  }
  const format = formats.find((candidate) => candidate.recognizes(manifest)) ?? artifactFormat;
  const refusal = format.refusal?.(manifest);
  if (refusal !== undefined) throw refusal;
  return format;
}

/**
 * The eBPF objects of an image. At least one fits the byte order of `platform`, or PLATFORM_MISMATCH is thrown;
 * INVALID_IMAGE and DIGEST_MISMATCH as the format does. Objects get names that are safe to print, no two alike.
 */
export async function extractImage(
  content: ImageContent,
  platform: Platform,
  options: ExtractOptions,
): Promise<ExtractedImage> {
  const image = await formatOf(content.manifest).extract(content, options);
  requireByteOrder(
    image.objects.map(({ facts }) => facts),
    platform,
  );
  if (options.strict === true) requireAgreement(image.disagreements);
  return {
    ...image,
    platform: image.platform ?? options.entryPlatform,
    objects: withSafeNames(image.objects),
    attachments: withSafeNames(image.attachments ?? []),
  };
}

/** Throws PLATFORM_MISMATCH unless one of the objects has the platform's byte order: no kernel takes the other. */
export function requireByteOrder(
  objects: readonly { readonly byteOrder: ByteOrder }[],
  platform: Platform,
): void {
  const wanted = byteOrderOf(platform);
  const orders = new Set(objects.map(({ byteOrder }) => byteOrder));
  if (orders.has(wanted)) return;
  const found = [...orders].join(" and ");
  throw new BpfcacheError(
    "PLATFORM_MISMATCH",
    `the image's objects are ${found}-endian, ${formatPlatform(platform)} is ${wanted}-endian`,
    {
      expected: wanted,
      found,
      hint: `Ask for a platform of that byte order, such as --platform ${found === "big" ? "linux/s390x" : "linux/amd64"}.`,
    },
  );
}

function isForeign(mediaType: string): boolean {
  return mediaType.includes("nondistributable") || mediaType.includes(".foreign.");
}
