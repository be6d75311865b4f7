import { z } from "zod";
import { type CacheEvent, hitReasons, missReasons, requestRoles } from "../../core/events.js";
import { bytes, code, count, listOf, reference, schemaOf, time } from "./words.js";

const about = { reference };
const maybeAbout = { reference: reference.optional() };
const milliseconds = z.number().min(0);

/** A line of --progress json. Kinds and keys may be added; `v` changes when one is taken away. */
export const event = schemaOf<CacheEvent>()(
  z.discriminatedUnion("event", [
    kind("batch", { images: count }),
    kind("resolving", about),
    kind("hit", { ...about, digest: z.string(), reason: z.enum(hitReasons) }),
    kind("miss", { ...about, reason: z.enum(missReasons), checkedAt: time.optional() }),
    kind("reused", {
      ...about,
      kind: z.string(),
      digest: z.string(),
      bytes,
      from: z.enum(["cache", "download"]),
    }),
    kind("verified", { ...about, digest: z.string(), bytes }),
    kind("decided", {
      ...about,
      digest: z.string(),
      decision: z.enum(["accept", "warn", "reject"]),
      rule: z.string().nullable(),
      reason: z.string(),
      signers: listOf(z.string()),
      policy: z.string(),
      decidedAt: time,
    }),
    kind("resolved", { ...about, digest: z.string(), unchanged: z.boolean(), bytes }),
    kind("fetching", { ...about, digest: z.string(), bytes }),
    kind("progress", { ...about, digest: z.string(), bytes, total: bytes }),
    kind("fetched", { ...about, digest: z.string(), bytes }),
    kind("published", { ...about, digest: z.string(), objects: count }),
    kind("waiting", about),
    kind("failed", { ...about, code, message: z.string() }),
    kind("followed", { images: count, changed: count, failed: count, nextMs: milliseconds }),
    kind("bundling", { ...about, digest: z.string(), bytes, total: bytes }),
    kind("exporting", { path: z.string(), bytes }),
    kind("exported", { ...about, digest: z.string(), bytes }),
    kind("read", { ...about, digest: z.string(), bytes }),
    kind("removed", { ...about, bytes }),
    kind("evicted", { ...about, bytes, reason: z.string() }),
    kind("scrubbing", { step: z.string(), checked: count, bytes, damaged: count }),
    kind("request", {
      ...maybeAbout,
      role: z.enum(requestRoles),
      method: z.string(),
      url: z.string(),
      status: count.describe("0 when no answer came"),
      bytes,
      milliseconds,
    }),
    kind("retry", {
      ...maybeAbout,
      url: z.string(),
      attempt: count,
      delayMs: milliseconds,
      reason: z.string(),
      code: code.optional(),
    }),
    kind("recovered", { fault: z.string(), movedTo: z.string(), references: count }),
    kind("warning", { ...maybeAbout, message: z.string() }),
  ]),
);

function kind<const Name extends string, Keys extends z.ZodRawShape>(
  name: Name,
  keys: Keys,
): z.ZodObject<{ v: z.ZodLiteral<1>; time: typeof time; event: z.ZodLiteral<Name> } & Keys> {
  return z.object({ v: z.literal(1), time, event: z.literal(name), ...keys });
}
