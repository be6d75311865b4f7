import { z } from "zod";
import { BpfcacheError } from "../../core/errors.js";
import { belongsToImage } from "../../image/attestations.js";
import { annotationsSchema, type Descriptor, descriptorSchema } from "../../image/descriptor.js";
import { isStatement } from "../../image/formats/signature.js";
import { type Files, type ReadOptions, readJson, readWhole } from "./files.js";

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  manifests: z.array(descriptorSchema).max(100_000),
  annotations: annotationsSchema,
});

/** What index.json lists. */
export type LayoutIndex = readonly Descriptor[];

/**
 * The entries of a layout (image-spec, image-layout.md). Throws NOT_FOUND when it is none, INVALID_IMAGE when it is
 * malformed or of a version that is not known.
 */
export async function readLayoutIndex(files: Files, options: ReadOptions): Promise<LayoutIndex> {
  await requireLayout(files, options.signal);
  const result = indexSchema.safeParse(await readJson(files, "index.json", options));
  if (result.success) return result.data.manifests;
  throw new BpfcacheError("INVALID_IMAGE", `the index.json of the layout ${files.where} is malformed`);
}

async function requireLayout(files: Files, signal: AbortSignal | undefined): Promise<void> {
  let marker: Buffer;
  try {
    marker = await readWhole(files, "oci-layout", { maxBytes: 64 * 1024, signal });
  } catch (cause) {
    throw new BpfcacheError(
      "NOT_FOUND",
      `${files.where} is not an OCI image layout: it has no readable oci-layout file`,
      { cause },
    );
  }
  if (!/"imageLayoutVersion"\s*:\s*"1\.\d+\.\d+"/.test(marker.toString())) {
    throw new BpfcacheError(
      "INVALID_IMAGE",
      `${files.where}/oci-layout names no layout version that bpfcache knows`,
    );
  }
}

/** containerd writes whole references beside the specification's own annotation, which it uses for the bare tag. */
export function nameOf({ annotations }: Descriptor): string | undefined {
  return annotations?.["io.containerd.image.name"] ?? annotations?.["org.opencontainers.image.ref.name"];
}

/** The digest in a tag of cosign's or of the referrers fall-back, as its hexadecimal digits, and what is behind it. */
export interface StatementTag {
  /** The tag itself, without a repository. */
  readonly name: string;
  readonly hex: string;
  /** Undefined for the fall-back's index of referrers. */
  readonly role: "sig" | "att" | "sbom" | undefined;
}

/** What such a tag names belongs to an image and is none. Undefined for any other name. */
export function statementTagOf(descriptor: Descriptor): StatementTag | undefined {
  const match = /(?:^|:)(sha(?:256|512)-([0-9a-f]{32,128})(?:\.(sig|att|sbom))?)$/.exec(
    nameOf(descriptor) ?? "",
  );
  if (match?.[1] === undefined || match[2] === undefined) return undefined;
  return { name: match[1], hex: match[2], role: match[3] as StatementTag["role"] };
}

/** Whether an entry may be an image: not the signature of one, nor what BuildKit attests of it. */
export function mayBeImage(descriptor: Descriptor): boolean {
  return statementTagOf(descriptor) === undefined && !isStatement(descriptor) && !belongsToImage(descriptor);
}
