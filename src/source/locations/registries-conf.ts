import { z } from "zod";
import { malformed, readTomlFile } from "./toml-file.js";

const trueOrFalse = z.boolean("must be true or false");

/** host[:port][/path]; wild cards are for prefixes only. */
const location = z
  .string("must be a string")
  .transform((text) => text.replace(/\/+$/, ""))
  .pipe(
    z
      .string()
      .min(1, "must not be empty")
      .refine((text) => !/^https?:\/\//i.test(text), "must not begin with a scheme"),
  );

const mirrorSchema = z.object({
  location,
  insecure: trueOrFalse.default(false),
  "pull-from-mirror": z
    .enum(["all", "digest-only", "tag-only", ""], "must be all, digest-only or tag-only")
    .optional(),
});

const registrySchema = z
  .object({
    prefix: z.union([z.literal("").transform(() => undefined), location]).optional(),
    location: z.union([z.literal("").transform(() => undefined), location]).optional(),
    insecure: trueOrFalse.default(false),
    blocked: trueOrFalse.default(false),
    "mirror-by-digest-only": trueOrFalse.default(false),
    mirror: z.array(mirrorSchema, "must be a list of tables, [[registry.mirror]]").default([]),
  })
  .refine(
    ({ prefix, location }) => prefix !== undefined || location !== undefined,
    "has neither prefix nor location",
  )
  .refine(
    (registry) =>
      !registry["mirror-by-digest-only"] ||
      registry.mirror.every((mirror) => (mirror["pull-from-mirror"] ?? "") === ""),
    "has both mirror-by-digest-only and pull-from-mirror",
  );

const registriesConfSchema = z.object({
  registry: z.array(registrySchema, "must be a list of tables, [[registry]]").default([]),
  aliases: z.record(z.string(), z.string("must be a string")).default({}),
  /** The first version of the format, which Podman no longer documents. */
  registries: z.record(z.string(), z.unknown()).optional(),
});

export type RegistryTable = z.output<typeof registrySchema>;

/** One file of Podman's configuration (containers-registries.conf(5)). */
export interface RegistriesConf {
  readonly path: string;
  readonly registries: readonly RegistryTable[];
  /** Short names and what they stand for; an empty value takes an alias back. */
  readonly aliases: Readonly<Record<string, string>>;
}

/** A registries.conf, or undefined when there is none. Throws USAGE. */
export function readRegistriesConf(path: string): RegistriesConf | undefined {
  const content = readTomlFile(path, registriesConfSchema);
  if (content === undefined) return undefined;
  if (content.registries !== undefined) {
    // Passing it over would pull from registries that it blocks.
    throw malformed(path, "it is in version 1 of the format; write [[registry]] tables instead");
  }
  return { path, registries: content.registry, aliases: content.aliases };
}
