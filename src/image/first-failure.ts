import { z } from "zod";

// zod looks at every element and keeps every failure: a manifest of 2 MB with a million wrong ones takes it two seconds,
// a gigabyte and, at last, the stack. These stop at the first.

/** An object whose values are all strings. */
export const stringMap: z.ZodType<Readonly<Record<string, string>>> = z.custom<
  Readonly<Record<string, string>>
>(
  (value) =>
    typeof value === "object" &&
    value !== null &&
    !Array.isArray(value) &&
    Object.values(value).every(isString),
  "not an object of strings",
);

export const stringList: z.ZodType<readonly string[]> = z.custom<readonly string[]>(
  (value) => Array.isArray(value) && value.every(isString),
  "not an array of strings",
);

/** At most so many elements, each as `element` says. */
export function listOf<T>(element: z.ZodType<T>, most: number): z.ZodType<readonly T[]> {
  return z
    .array(z.unknown())
    .max(most)
    .transform((values, context) => {
      const parsed: T[] = [];
      for (const [index, value] of values.entries()) {
        const result = element.safeParse(value);
        if (!result.success) {
          const [{ path, message } = { path: [], message: "unknown reason" }] = result.error.issues;
          context.addIssue({ code: "custom", path: [index, ...path], message });
          return z.NEVER;
        }
        parsed.push(result.data);
      }
      return parsed;
    });
}

function isString(value: unknown): value is string {
  return typeof value === "string";
}
