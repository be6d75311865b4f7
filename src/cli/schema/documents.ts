import { z } from "zod";
import type { ExportResult } from "../../bundle/export.js";
import type { PushedImage } from "../../bundle/push.js";
import type { PulledImage } from "../../options.js";
import type { BatchResult } from "../../pull/batch.js";
import type { Verification } from "../../pull/verify.js";
import type { Compaction } from "../../store/compact.js";
import type { Usage } from "../../store/disk-usage.js";
import type { Metrics } from "../../store/metrics.js";
import type { PruneResult } from "../../store/prune.js";
import type { ScrubReport } from "../../store/scrub/scrub.js";
import type { ShownSetting } from "../config/run.js";
import { event } from "./event.js";
import { explanation, readExplanation } from "./explanation.js";
import { bytecode, image, inspectedImage, pulledImage } from "./image.js";
import { program, programList } from "./program.js";
import { bytes, code, count, digest, listOf, lock, platform, reference, schemaOf } from "./words.js";

const failed = listOf(z.object({ reference: z.string(), code, message: z.string() }));

const batch = schemaOf<BatchResult<PulledImage>>()(z.object({ images: listOf(pulledImage), failed, lock }));

const metrics = schemaOf<Metrics>()(
  z.object({
    counters: z.record(z.string(), count).readonly().describe("since the cache was made"),
    bytes,
    fileBytes: bytes,
    freeBytes: bytes,
    maxBytes: bytes.nullable(),
    references: count,
    images: count,
    objects: count,
  }),
);

const exported = schemaOf<ExportResult>()(
  z.object({
    output: z.string(),
    format: z.enum(["oci-dir", "oci-archive", "docker-archive", "files"]),
    images: listOf(
      z.object({
        reference,
        rootDigest: z.string(),
        platforms: listOf(platform),
        bytes,
        missing: listOf(z.object({ digest, platform: platform.nullable() })),
      }),
    ),
    failed,
    lock,
    bytes,
  }),
);

const pruned = schemaOf<PruneResult>()(
  z.object({
    removed: listOf(
      z.object({
        reference: reference.optional(),
        platform: platform.optional(),
        digest: digest.optional(),
        bytes,
        reason: z.enum(["size", "age", "keep-last", "layers", "unreferenced"]),
      }),
    ),
    bytesFreed: bytes,
  }),
);

const usage = schemaOf<Usage>()(
  z.object({
    bytes,
    uniqueBytes: bytes,
    fileBytes: bytes,
    freeBytes: bytes,
    images: listOf(z.object({ reference, platform, bytes, uniqueBytes: bytes })),
    limits: z.object({ maxBytes: bytes, highBytes: bytes, lowBytes: bytes }).nullable(),
  }),
);

const compacted = schemaOf<Compaction>()(
  z.object({ fileBytesBefore: bytes, fileBytesAfter: bytes, bytesFreed: bytes }),
);

const finding = z.object({
  tree: z.string(),
  name: z.string(),
  reason: z.string(),
  references: listOf(z.string()),
});

const scrubbed = schemaOf<ScrubReport>()(
  z.object({
    checked: count,
    bytes,
    damaged: listOf(finding),
    repaired: listOf(finding),
    quarantined: listOf(
      z.object({
        tree: z.string(),
        digest: digest.optional(),
        key: z.string(),
        reason: z.string(),
        noticedAt: count.describe("milliseconds since 1970"),
        head: z.string(),
      }),
    ),
    steps: z.record(z.string(), z.number()).readonly().describe("milliseconds that each took"),
  }),
);

const verification = schemaOf<Verification>()(
  z.object({
    reference,
    rootDigest: digest,
    isCached: z.boolean(),
    decision: z.enum(["accept", "warn", "reject"]),
    rule: z.string().nullable().describe("the scope of the rule that decided; null for the policy's default"),
    reason: z.string(),
    signers: listOf(z.string()),
    policy: z.string().describe("the policy's fingerprint"),
    signatures: listOf(
      z.object({
        digest,
        kind: z.string(),
        counts: z.boolean(),
        signer: z.string().nullable(),
        reason: z.string(),
      }),
    ),
    requests: count,
    bytesFetched: bytes,
  }),
);

const setting = schemaOf<ShownSetting>()(
  z.object({
    name: z.string(),
    value: z.union([z.string(), z.boolean(), listOf(z.string())]).nullable(),
    origin: z.discriminatedUnion("from", [
      z.object({ from: z.literal("default") }),
      z.object({ from: z.literal("file"), path: z.string(), line: count }),
      z.object({ from: z.literal("environment"), variable: z.string() }),
      z.object({ from: z.literal("option") }),
    ]),
  }),
);

/** What each verb prints with --json, by its name with a hyphen for a space; besides them what an image is, an event and an error. */
export const documents: Readonly<Record<string, z.ZodType>> = {
  image,
  prefetch: batch.extend({
    explain: z.record(z.string(), explanation).optional().describe("by reference, with --explain"),
    rounds: count.optional().describe("with --follow; the rest is of the last round"),
  }),
  pull: pulledImage.extend({ explain: explanation.optional() }),
  seed: batch,
  export: exported,
  push: schemaOf<PushedImage>()(z.object({ reference, rootDigest: z.string() })),
  list: z.object({ images: listOf(image) }),
  inspect: inspectedImage,
  cat: bytecode.extend({ explain: readExplanation.optional() }),
  remove: z.object({
    removed: listOf(z.object({ reference, bytes, reason: z.string() })),
    bytesFreed: bytes,
  }),
  pin: z.object({ pinned: listOf(reference) }),
  unpin: z.object({ unpinned: listOf(reference) }),
  prune: pruned,
  usage,
  metrics,
  compact: compacted,
  scrub: scrubbed,
  verify: verification,
  program,
  "program-load": z.object({ programs: listOf(program) }),
  "program-list": programList,
  "program-get": program,
  "program-unload": program,
  serve: z.object({ url: z.string(), directory: z.string() }),
  config: z.object({
    files: listOf(z.object({ path: z.string(), isThere: z.boolean() })),
    settings: listOf(setting),
  }),
  completion: z.object({ shell: z.enum(["bash", "zsh", "fish"]), script: z.string() }),
  help: z.object({ topic: z.string().nullable(), text: z.string() }),
  event,
  error: z.object({
    error: z.object({
      code,
      message: z.string(),
      reference: z.string().optional(),
      hint: z.string().optional(),
      log: listOf(z.string()).optional(),
    }),
  }),
};
