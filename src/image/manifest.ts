import { z } from "zod";
import { BpfcacheError } from "../core/errors.js";
import { annotationsSchema, type Descriptor, descriptorSchema } from "./descriptor.js";
import { listOf } from "./first-failure.js";
import { indexMediaTypes, manifestMediaTypes, mediaTypes } from "./media-types.js";

/** One image: a config and its layers. `mediaType` is what it was served or described as. */
export interface ImageManifest {
  readonly kind: "manifest";
  readonly mediaType: string;
  readonly artifactType?: string | undefined;
  readonly config: Descriptor;
  readonly layers: readonly Descriptor[];
  readonly subject?: Descriptor | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

/** Several manifests (or further indexes), usually one a platform. */
export interface ImageIndex {
  readonly kind: "index";
  readonly mediaType: string;
  readonly artifactType?: string | undefined;
  readonly manifests: readonly Descriptor[];
  readonly subject?: Descriptor | undefined;
  readonly annotations?: Readonly<Record<string, string>> | undefined;
}

export type ManifestDocument = ImageManifest | ImageIndex;

const manifestSchema = z.object({
  schemaVersion: z.literal(2),
  artifactType: z.string().nullish(),
  config: descriptorSchema,
  layers: listOf(descriptorSchema, 1_000),
  subject: descriptorSchema.nullish(),
  annotations: annotationsSchema,
});

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  artifactType: z.string().nullish(),
  manifests: listOf(descriptorSchema, 10_000),
  subject: descriptorSchema.nullish(),
  annotations: annotationsSchema,
});

/**
 * Parses a manifest or an index. `mediaType` is what the descriptor or the Content-Type said; the document's own
 * `mediaType` may be missing (Inspektor Gadget leaves it out) but may not say otherwise, and a document that could
 * be read both as a manifest and as an index is refused (CVE-2021-41190). Throws INVALID_IMAGE.
 */
export function parseManifest(bytes: Uint8Array, mediaType: string): ManifestDocument {
  const json = parseObject(bytes);
  const type = agreedMediaType(json, mediaType.split(";")[0]?.trim().toLowerCase() ?? "");
  return indexMediaTypes.has(type) ? parseIndex(json, type) : parseImageManifest(json, type);
}

function parseImageManifest(json: Record<string, unknown>, mediaType: string): ImageManifest {
  if ("manifests" in json) throw ambiguous("manifest", "manifests");
  const { config, layers, ...rest } = check(manifestSchema, json, "manifest");
  return { kind: "manifest", mediaType, config, layers, ...optionalMembers(rest) };
}

function parseIndex(json: Record<string, unknown>, mediaType: string): ImageIndex {
  for (const member of ["config", "layers", "fsLayers"]) if (member in json) throw ambiguous("index", member);
  const { manifests, ...rest } = check(indexSchema, json, "index");
  return { kind: "index", mediaType, manifests, ...optionalMembers(rest) };
}

function optionalMembers(document: {
  artifactType?: string | null | undefined;
  subject?: Descriptor | null | undefined;
  annotations?: Readonly<Record<string, string>> | undefined;
}): Pick<ImageManifest, "artifactType" | "subject" | "annotations"> {
  return {
    artifactType: document.artifactType ?? undefined,
    subject: document.subject ?? undefined,
    annotations: document.annotations,
  };
}

function parseObject(bytes: Uint8Array): Record<string, unknown> {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch (cause) {
    throw new BpfcacheError("INVALID_IMAGE", "the manifest is not JSON", { cause });
  }
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    throw new BpfcacheError("INVALID_IMAGE", "the manifest is not a JSON object");
  }
  return json as Record<string, unknown>;
}

/** The type to read the document as: what it was served as, what it says itself, or what its shape says. */
function agreedMediaType(json: Record<string, unknown>, served: string): string {
  refuseSchema1(json, served);
  const declared = json["mediaType"];
  if (declared !== undefined && typeof declared !== "string") {
    throw new BpfcacheError("INVALID_IMAGE", "the manifest's mediaType is not a string");
  }
  if (isManifestType(served)) {
    if (declared !== undefined && declared !== served) {
      throw new BpfcacheError(
        "INVALID_IMAGE",
        `the manifest says it is ${declared} but was served as ${served}`,
        {
          expected: served,
          found: declared,
        },
      );
    }
    return served;
  }
  // Plain file servers and old proxies say application/json, text/plain or octet-stream.
  if (declared !== undefined) {
    if (isManifestType(declared)) return declared;
    throw new BpfcacheError(
      "INVALID_IMAGE",
      `${JSON.stringify(declared)} is neither an image manifest nor an index`,
    );
  }
  return "manifests" in json ? mediaTypes.ociIndex : mediaTypes.ociManifest;
}

function isManifestType(mediaType: string): boolean {
  return indexMediaTypes.has(mediaType) || manifestMediaTypes.has(mediaType);
}

function refuseSchema1(json: Record<string, unknown>, served: string): void {
  const old = served === mediaTypes.dockerSchema1 || served === mediaTypes.dockerSchema1Signed;
  if (old || json["schemaVersion"] === 1 || "fsLayers" in json) {
    throw new BpfcacheError(
      "INVALID_IMAGE",
      "the image has Docker's schema 1 format, which no registry accepts any more",
      {
        hint: "Push it again with a current docker, podman, buildah or skopeo.",
      },
    );
  }
}

function ambiguous(kind: string, member: string): BpfcacheError {
  return new BpfcacheError(
    "INVALID_IMAGE",
    `ambiguous document: an image ${kind} with "${member}" (CVE-2021-41190)`,
  );
}

function check<T extends z.ZodType>(schema: T, json: unknown, kind: string): z.output<T> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const where = issue === undefined || issue.path.length === 0 ? "" : ` at ${issue.path.join(".")}`;
  throw new BpfcacheError(
    "INVALID_IMAGE",
    `malformed image ${kind}${where}: ${issue?.message ?? "unknown reason"}`,
  );
}
