import { z } from "zod";

const fileNames = z.union([z.string(), z.array(z.string())], "must be a path or a list of paths");

const clientPair = z.tuple([z.string(), z.string()]);

const capability = z
  .string()
  .transform((name) => name.toLowerCase())
  .pipe(z.enum(["pull", "resolve", "push", "referrers"], "must be pull, resolve, push or referrers"));

// RFC 9110, section 5.6.2.
const headerName = /^[!#$%&'*+.^_`|~\w-]+$/;
/** What the client itself decides on. */
const ownHeader = /^(connection|keep-alive|transfer-encoding|upgrade|expect|content-length)$/i;

const headerValue = z.string().regex(/^[\t\x20-\x7e\x80-\xff]*$/, "is not the value of a header");

const hostFields = {
  capabilities: z.array(capability, "must be a list").optional(),
  ca: fileNames.optional(),
  client: z
    .union(
      [z.string(), z.array(z.union([z.string(), clientPair]))],
      "must be a path, a list of paths, or a list of [certificate, key]",
    )
    .optional(),
  skip_verify: z.boolean("must be true or false").optional(),
  header: z
    .record(z.string(), z.union([headerValue, z.array(headerValue)], "must be a string or a list of strings"))
    .refine(
      (headers) => Object.keys(headers).every((name) => headerName.test(name) && !ownHeader.test(name)),
      "has a name that is no header's, or one that cannot be set",
    )
    .optional(),
  override_path: z.boolean("must be true or false").optional(),
  dial_timeout: z.string('must be a string such as "2s"').optional(),
  proxy: z.string("must be a URL").optional(),
};

const hostSchema = z.object(hostFields);

/** containerd's hosts.toml (docs/hosts.md). What it may learn in later versions is passed over. */
export const hostsFileSchema = z.object({
  server: z.string("must be a URL").optional(),
  host: z.record(z.string(), hostSchema).optional(),
  ...hostFields,
});

/** What may be said about one host. */
export type HostOptions = z.output<typeof hostSchema>;
