import { z } from "zod";
import { hitReasons, missReasons, requestRoles } from "../../core/events.js";
import type { Explanation } from "../explain.js";
import type { ReadExplanation } from "../explain-read.js";
import { bytes, count, listOf, schemaOf, time } from "./words.js";

const part = z.object({ digest: z.string(), bytes });
const trust = z
  .object({
    policyFile: z.string().nullable(),
    policy: z.string().describe("the policy's fingerprint"),
    rule: z.string().nullable().describe("the scope of the rule that decided; null for the policy's default"),
    decision: z.enum(["accept", "warn", "reject"]),
    reason: z.string(),
    signers: listOf(z.string()),
    decidedAt: time,
  })
  .nullable()
  .describe("what the trust policy says of the image; null when none was asked");
const sentences = listOf(z.string());

/** The key `explain` of what pull and prefetch print. */
export const explanation = schemaOf<Explanation>()(
  z.object({
    outcome: z.enum(["hit", "unchanged", "relinked", "fetched", "failed"]),
    reason: z.enum([...hitReasons, ...missReasons]).nullable(),
    asked: listOf(
      z.object({ host: z.string(), role: z.enum(requestRoles), statuses: listOf(count), bytes }),
    ).describe("each host in each role once; a status is 0 where no answer came"),
    reused: listOf(part.extend({ kind: z.string() })),
    fetched: listOf(part),
    verified: listOf(part).describe("objects that were hashed"),
    trust,
    sentences,
  }),
);

/** The same of cat. */
export const readExplanation = schemaOf<ReadExplanation>()(
  z.object({
    outcome: z.literal("hit"),
    reason: z.enum(["name", "digest"]),
    verified: listOf(part),
    trust,
    sentences,
  }),
);
