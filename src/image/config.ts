import { z } from "zod";
import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { normalizePlatform, type Platform } from "../core/platform.js";
import { digestSchema } from "./descriptor.js";
import { listOf, stringMap } from "./first-failure.js";

/** The part of a container image's config that says something about bytecode (OCI image-spec, config.md). */
export interface ImageConfig {
  /** Undefined when the config names none, as builders do that were told of none. */
  readonly platform: Platform | undefined;
  readonly labels: Readonly<Record<string, string>>;
  /** Digests of the uncompressed layers, in order. */
  readonly diffIds: readonly Digest[];
}

const schema = z.object({
  os: z.string().nullish(),
  architecture: z.string().nullish(),
  variant: z.string().nullish(),
  config: z.object({ Labels: stringMap.nullish() }).nullish(),
  rootfs: z.object({ diff_ids: listOf(digestSchema, 1_000).nullish() }).nullish(),
});

/** Throws INVALID_IMAGE. */
export function parseImageConfig(bytes: Uint8Array): ImageConfig {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new BpfcacheError("INVALID_IMAGE", "the image config is not JSON", { cause });
  }
  const result = schema.safeParse(json);
  if (!result.success) {
    const where = result.error.issues[0]?.path.join(".") ?? "";
    throw new BpfcacheError("INVALID_IMAGE", `malformed image config at ${where || "its root"}`);
  }
  const { os, architecture, variant, config, rootfs } = result.data;
  return {
    platform:
      os && architecture ? normalizePlatform({ os, architecture, variant: variant ?? undefined }) : undefined,
    labels: config?.Labels ?? {},
    diffIds: rootfs?.diff_ids ?? [],
  };
}
