import { BpfcacheError } from "../../core/errors.js";
import { parseReference, type Reference } from "../../core/reference.js";
import { coveredBy } from "../../core/reference-prefix.js";
import { type ConnectionSettings, type Location, ownLocation, type Scheme } from "./location.js";
import type { RegistriesConf, RegistryTable } from "./registries-conf.js";
import { malformed } from "./toml-file.js";

/** `insecure`: any certificate will do, and http where there is no TLS. */
const insecureSchemes: readonly [Scheme, Scheme] = ["https:", "http:"];
const insecureConnection: ConnectionSettings = { ca: [], cert: [], key: [], skipsVerification: true };

type Usage = "all" | "digest-only" | "tag-only";

/** One [[registry]] table. */
interface Rule {
  readonly prefix: string;
  readonly table: RegistryTable;
  readonly file: string;
}

/** What the [[registry]] tables of all files say. A table replaces that of an earlier file with the same prefix. */
export class RegistryRules {
  readonly #rules = new Map<string, Rule>();

  constructor(files: readonly RegistriesConf[]) {
    for (const { path, registries } of files) {
      for (const table of registries) this.#add(table, path);
    }
  }

  #add(table: RegistryTable, file: string): void {
    const prefix = table.prefix ?? table.location ?? "";
    const earlier = this.#rules.get(prefix);
    if (earlier?.file === file && earlier.table.blocked !== table.blocked) {
      throw malformed(file, `it has two tables for ${prefix}, and one of them blocks it`);
    }
    this.#rules.set(prefix, { prefix, table, file });
  }

  /** Mirrors first, then the registry; undefined when no table is about the reference. Throws USAGE when it is blocked. */
  locationsOf(reference: Reference): readonly Location[] | undefined {
    const rule = this.#ruleFor(reference);
    if (rule === undefined) return undefined;
    if (rule.table.blocked) throw blocked(reference, rule);
    const { table } = rule;
    const mirrors = table.mirror.filter((mirror) => isUsed(usageOf(mirror, table), reference));
    return [...mirrors, { location: table.location, insecure: table.insecure }].map(
      ({ location, insecure }) => ({
        ...ownLocation(location === undefined ? reference : rewritten(reference, location, rule)),
        ...(insecure && { schemes: insecureSchemes, connection: insecureConnection }),
      }),
    );
  }

  /** The longest prefix wins. */
  #ruleFor(reference: Reference): Rule | undefined {
    const text = reference.toString();
    let best: Rule | undefined;
    for (const rule of this.#rules.values()) {
      const isBetter = best === undefined || rule.prefix.length > best.prefix.length;
      if (isBetter && coveredBy(rule.prefix, text) !== undefined) best = rule;
    }
    return best;
  }
}

function usageOf(mirror: RegistryTable["mirror"][number], table: RegistryTable): Usage {
  if (table["mirror-by-digest-only"]) return "digest-only";
  return mirror["pull-from-mirror"] || "all";
}

/** What the user asked for decides, as in Podman: for a tag, a digest-only mirror is not asked for the layers either. */
function isUsed(usage: Usage, { digest }: Reference): boolean {
  return usage === "all" || (usage === "digest-only") === (digest !== undefined);
}

/** The reference with the part that the prefix covers replaced by a location. Throws USAGE when that is no reference. */
function rewritten(reference: Reference, location: string, rule: Rule): Reference {
  const text = reference.toString();
  const target = location + text.slice(coveredBy(rule.prefix, text) ?? 0);
  const found = parsed(target, rule.file);
  const [host = ""] = location.split("/");
  // Read as a reference, a location without a host would silently be one at Docker Hub.
  const namesHost = found.host === host.toLowerCase() || host.toLowerCase() === "index.docker.io";
  if (!namesHost) {
    throw malformed(rule.file, `the location ${JSON.stringify(location)} does not begin with a host`);
  }
  if (found.tag !== reference.tag || found.digest !== reference.digest) {
    throw malformed(
      rule.file,
      `the location ${JSON.stringify(location)} would change the tag or digest that is asked for`,
    );
  }
  return found;
}

function parsed(text: string, file: string): Reference {
  try {
    return parseReference(text);
  } catch (cause) {
    throw malformed(file, cause instanceof Error ? cause.message : String(cause), cause);
  }
}

function blocked(reference: Reference, { prefix, file }: Rule): BpfcacheError {
  return new BpfcacheError("USAGE", `${reference} is blocked by this machine's configuration`, {
    reference: reference.toString(),
    hint: `The [[registry]] table for ${prefix} in ${file} says so.`,
  });
}
