import { z } from "zod";
import type { PulledImage } from "../../options.js";
import type { BytecodeDescription } from "../../store/bytecode.js";
import type { CachedImage, ImageDetails } from "../../store/catalog.js";
import { bytes, count, digest, listOf, platform, reference, schemaOf, time } from "./words.js";

const program = z.object({ name: z.string(), type: z.string(), section: z.string() });
const map = z.object({ name: z.string(), type: z.string() });
const blob = z.object({ digest, mediaType: z.string(), size: bytes });

const object = z.object({
  name: z.string().describe("its path in the layer, or its title"),
  digest: digest.describe("the object digest: of the ELF file"),
  size: bytes,
  programs: listOf(program),
  maps: listOf(map),
});

const imageKeys = {
  reference,
  rootDigest: digest.describe("of what the reference names: an index or a manifest"),
  manifestDigest: digest.describe("of the manifest for this platform"),
  platform,
  format: z.string(),
  objects: listOf(object),
  labels: z.record(z.string(), z.string()).readonly(),
  size: bytes.describe("of config, layers and objects; what images share is counted in each"),
  pinned: z.boolean(),
  pulledAt: time,
  lastUsedAt: time.nullable(),
};

export const image = schemaOf<CachedImage>()(z.object(imageKeys));

const verdict = z.object({
  decision: z.enum(["accept", "warn"]),
  rule: z.string().nullable().describe("the scope of the rule that decided; null for the policy's default"),
  reason: z.string(),
  signers: listOf(z.string()),
  policy: z.string().describe("the policy's fingerprint"),
  decidedAt: time,
});

export const pulledImage = schemaOf<PulledImage>()(
  z.object({
    ...imageKeys,
    from: z.string().describe("cache, or the source that bytes came from"),
    requests: count,
    bytesFetched: bytes,
    trust: verdict.nullable().describe("the verdict of the trust policy; null when none was asked"),
  }),
);

const inspectedProgram = program.extend({
  attach: z.string().optional(),
  sleepable: z.boolean().optional(),
  autoload: z.boolean().optional(),
  instructions: count.optional(),
  offset: bytes.optional(),
});

const inspectedMap = map.extend({
  keySize: bytes.optional(),
  valueSize: bytes.optional(),
  maxEntries: count.optional(),
  flags: count.optional(),
});

const inspectedObject = object.extend({
  programs: listOf(inspectedProgram),
  maps: listOf(inspectedMap),
  layerDigest: digest,
  byteOrder: z.string().describe("little or big"),
  license: z.string().nullable(),
  sections: listOf(z.object({ name: z.string(), type: z.string(), size: bytes, flags: listOf(z.string()) })),
  globals: listOf(
    z.object({
      name: z.string(),
      section: z.string(),
      size: bytes,
      type: z.string().optional(),
      offset: bytes,
    }),
  ),
  coreRelocations: count,
});

const referrer = z.object({
  subject: digest,
  artifactType: z.string(),
  kind: z.string().optional(),
  mediaType: z.string(),
  digest,
  size: bytes,
  annotations: z.record(z.string(), z.string()).readonly().optional(),
  tag: z.string().optional(),
  isInIndex: z.boolean().optional(),
  blobs: listOf(blob.extend({ kind: z.enum(["config", "layer"]) })),
});

export const inspectedImage = schemaOf<ImageDetails>()(
  z.object({
    ...imageKeys,
    objects: listOf(inspectedObject),
    rootMediaType: z.string(),
    platforms: listOf(platform).describe("what the root offers, cached or not"),
    configDigest: digest,
    layers: listOf(blob.extend({ isCached: z.boolean() })),
    attachments: listOf(
      z.object({
        name: z.string(),
        mediaType: z.string(),
        digest,
        size: bytes,
        kind: z.enum(["metadata", "wasm", "btf", "other"]),
      }),
    ),
    metadata: z.record(z.string(), z.unknown()).readonly().nullable(),
    referrers: listOf(referrer),
    verdicts: listOf(verdict),
    source: z.string(),
    checkedAt: time,
    warnings: listOf(z.string()),
  }),
);

export const bytecode = schemaOf<BytecodeDescription>()(
  z.object({
    reference,
    digest,
    rootDigest: digest,
    manifestDigest: digest,
    layerDigest: digest,
    platform,
    name: z.string(),
    size: bytes,
    programs: listOf(program),
  }),
);
