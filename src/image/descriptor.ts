import { z } from "zod";
import { type Digest, isDigest } from "../core/digest.js";
import type { Platform } from "../core/platform.js";
import { stringList, stringMap } from "./first-failure.js";

/** What names a piece of content: its type, digest and size (OCI image-spec, descriptor.md). */
export interface Descriptor {
  readonly mediaType: string;
  readonly digest: Digest;
  readonly size: number;
  readonly platform?: Platform | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
  readonly artifactType?: string | undefined;
  /** Places outside the registry; layers that have them are "foreign" and refused. */
  readonly urls?: readonly string[] | undefined;
  /** The content itself, base64, when it is small. It is checked against size and digest like any other. */
  readonly data?: string | undefined;
}

export const digestSchema: z.ZodType<Digest> = z.string().refine(isDigest, "not a sha256 or sha512 digest");

/** Optional members are often written as null by hand-made and Go tools; that is the same as leaving them out. */
function optional<T extends z.ZodType>(schema: T): z.ZodType<z.output<T> | undefined> {
  return schema.nullish().transform((value) => value ?? undefined);
}

export const annotationsSchema: z.ZodType<Readonly<Record<string, string>> | undefined> = optional(stringMap);

const platformSchema = z.object({
  os: z.string(),
  architecture: z.string(),
  variant: optional(z.string()),
});

export const descriptorSchema: z.ZodType<Descriptor> = z.object({
  mediaType: z.string().min(1).max(255),
  digest: digestSchema,
  size: z.int().nonnegative(),
  platform: optional(platformSchema),
  annotations: annotationsSchema,
  artifactType: optional(z.string()),
  urls: optional(stringList),
  data: optional(z.string()),
});
