import { z } from "zod";
import { BpfcacheError } from "../../core/errors.js";
import type { Credential } from "./credential.js";
import { normalizedKey } from "./registry-key.js";

const entrySchema = z.object({
  auth: z.string().nullish(),
  username: z.string().nullish(),
  password: z.string().nullish(),
  identitytoken: z.string().nullish(),
  registrytoken: z.string().nullish(),
});

const authsSchema = z.record(z.string(), entrySchema.nullable());

const configSchema = z.object({
  auths: authsSchema.nullish(),
  credHelpers: z.record(z.string(), z.string()).nullish(),
  credsStore: z.string().nullish(),
});

export type AuthEntry = z.output<typeof entrySchema>;

/** What Docker's config.json, Podman's auth.json and a Kubernetes dockerconfigjson have in common. Keys are normalized. */
export interface DockerConfig {
  /** Where it was read, for messages. */
  readonly path: string;
  readonly auths: ReadonlyMap<string, AuthEntry>;
  readonly credHelpers: ReadonlyMap<string, string>;
  readonly credsStore: string | undefined;
}

/** Parses a file of credentials; an empty one is one without any. Throws USAGE, never quoting the text. */
export function parseDockerConfig(text: string, path: string): DockerConfig {
  const json = text.trim() === "" ? {} : parseJson(text, path);
  const config = configSchema.safeParse(isOldForm(json) ? { auths: json } : json);
  if (!config.success) {
    const where = config.error.issues[0]?.path.map(String).join(".") ?? "";
    throw new BpfcacheError("USAGE", `the credentials file ${path} is malformed at ${where || "its top"}`);
  }
  const { auths, credHelpers, credsStore } = config.data;
  return {
    path,
    auths: byKey(auths ?? {}, (entry) => entry ?? {}),
    credHelpers: byKey(credHelpers ?? {}, (name) => name),
    credsStore: credsStore || undefined,
  };
}

/** The credential in an entry; entries are left empty where a helper keeps the secret. Throws USAGE when it is garbled. */
export function credentialOf(entry: AuthEntry, path: string): Credential | undefined {
  if (entry.identitytoken) return { kind: "identity-token", token: entry.identitytoken, from: path };
  if (entry.registrytoken) return { kind: "registry-token", token: entry.registrytoken, from: path };
  if (entry.auth) {
    const decoded = Buffer.from(entry.auth, "base64").toString("utf8").replace(/\0+$/, "");
    const colon = decoded.indexOf(":");
    if (colon < 0) throw new BpfcacheError("USAGE", `an "auth" in ${path} is not base64 of user:password`);
    return password(decoded.slice(0, colon), decoded.slice(colon + 1), path);
  }
  return entry.username && entry.password ? password(entry.username, entry.password, path) : undefined;
}

function password(username: string, secret: string, from: string): Credential {
  return { kind: "password", username, password: secret, from };
}

/** Several spellings of one registry may be in a file; the first one counts unless it is empty. */
function byKey<T, U>(record: Record<string, T>, convert: (value: T) => U): Map<string, U> {
  const map = new Map<string, U>();
  for (const [key, value] of Object.entries(record)) {
    const normalized = normalizedKey(key);
    const present = map.get(normalized);
    if (present === undefined || JSON.stringify(present) === "{}") map.set(normalized, convert(value));
  }
  return map;
}

/** `.dockercfg` is the bare map of what is under `auths` nowadays; Kubernetes still has secrets of that type. */
function isOldForm(json: unknown): boolean {
  if (
    typeof json !== "object" ||
    json === null ||
    Object.keys(configSchema.shape).some((key) => key in json)
  ) {
    return false;
  }
  const values = Object.values(json);
  return (
    values.length > 0 &&
    values.every((entry) => typeof entry === "object" && entry !== null && "auth" in entry)
  );
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    // V8's message quotes the text, and the text is secret.
    throw new BpfcacheError("USAGE", `the credentials file ${path} is not JSON`);
  }
}
