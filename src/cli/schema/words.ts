import { z } from "zod";
import { type ErrorCode, exitStatus } from "../../core/errors.js";

// What many documents have in common. Objects are open: keys may be added, and those that are here stay.

/**
 * The schema, and proof at compile time that all that the library's type allows is what the schema says.
 *
 *     schemaOf<Compaction>()(z.object({ … }))
 */
export function schemaOf<Value>(): <S extends z.ZodType>(
  schema: S & (Value extends z.input<S> ? unknown : never),
) => S {
  return (schema) => schema;
}

export function listOf<S extends z.ZodType>(item: S): z.ZodReadonly<z.ZodArray<S>> {
  return z.array(item).readonly();
}

export const digest = z
  .string()
  .regex(/^(sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/)
  .describe("algorithm:hex");
export const reference = z.string().describe("host/repository[:tag][@digest]");
export const platform = z.string().describe("os/arch[/variant]");
export const bytes = z.int().min(0).describe("bytes");
export const count = z.int().min(0);
export const time = z.iso.datetime().describe("ISO 8601, in UTC");
export const code = z.enum(Object.keys(exitStatus) as [ErrorCode, ...ErrorCode[]]);
export const lock = z
  .record(z.string(), z.string())
  .readonly()
  .describe("each reference with its root digest");
