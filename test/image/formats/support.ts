import { BpfcacheError } from "../../../src/core/errors.js";
import { defaultLimits, type Limits } from "../../../src/core/limits.js";
import { type Platform, parsePlatform } from "../../../src/core/platform.js";
import { extractImage } from "../../../src/image/extract.js";
import type { ExtractedImage } from "../../../src/image/formats/format.js";
import { parseManifest } from "../../../src/image/manifest.js";
import { minimalBpfElf, type TestImage } from "../../support/image-builder.js";

export interface ExtractionOptions {
  readonly limits?: Partial<Limits>;
  readonly platform?: string;
  readonly entryPlatform?: Platform;
  readonly strict?: boolean;
}

/** What an image is taken for, without a registry and a cache around it. */
export async function extract(image: TestImage, options: ExtractionOptions = {}): Promise<ExtractedImage> {
  const { limits, platform = "linux/amd64", ...rest } = options;
  const manifest = parseManifest(image.manifest.bytes, image.manifest.mediaType);
  if (manifest.kind !== "manifest") throw new Error("this is an index");
  const layers = manifest.layers.map((descriptor) => ({
    descriptor,
    bytes: image.blobs.get(descriptor.digest) ?? Buffer.alloc(0),
  }));
  return extractImage({ manifest, config: image.config.bytes, layers }, parsePlatform(platform), {
    limits: { ...defaultLimits, ...limits },
    ...rest,
  });
}

/** The refusal, in one text: message and hint. */
export async function refusalOf(image: TestImage, options: ExtractionOptions = {}): Promise<string> {
  const { code, text } = await failure(image, options);
  if (code !== "INVALID_IMAGE") throw new Error(`it failed with ${code}: ${text}`);
  return text;
}

async function failure(
  image: TestImage,
  options: ExtractionOptions,
): Promise<{ readonly code: string; readonly text: string }> {
  try {
    await extract(image, options);
  } catch (error) {
    if (error instanceof BpfcacheError)
      return { code: error.code, text: `${error.message}. ${error.hint ?? ""}` };
    throw error;
  }
  throw new Error("it was not refused");
}

export function objectNames({ objects }: ExtractedImage): string[] {
  return objects.map(({ name }) => name);
}

/** An object with one xdp program of this name. */
export function objectWith(program: string, order: "little" | "big" = "little"): Buffer {
  return minimalBpfElf({ programs: [{ name: program }], order });
}
