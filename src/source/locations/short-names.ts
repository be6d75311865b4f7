import { looksLikeHost, parseReference } from "../../core/reference.js";
import type { RegistriesConf } from "./registries-conf.js";
import { malformed } from "./toml-file.js";

/** An alias, and the file that has it. */
interface Alias {
  readonly target: string;
  readonly file: string;
}

/**
 * Podman's short-name aliases. Only these are followed for a name without a host. unqualified-search-registries are
 * not: which registry such a name means would depend on which of them has it, or answers, at the moment, so that
 * somebody may take the name in an earlier one, and each costs requests. Without an alias the name is Docker Hub's.
 */
export class ShortNames {
  readonly #aliases = new Map<string, Alias>();

  constructor(files: readonly RegistriesConf[]) {
    for (const { path, aliases } of files) {
      for (const [name, target] of Object.entries(aliases)) {
        if (target === "") this.#aliases.delete(name);
        else this.#aliases.set(name, { target, file: path });
      }
    }
  }

  /** A name with its alias put in its place, and the tag or digest behind it kept; other names unchanged. Throws USAGE. */
  expand(text: string): string {
    if (namesHost(text)) return text;
    const name = withoutTag(text);
    const alias = this.#aliases.get(name);
    if (alias === undefined) return text;
    requireWholeName(alias, name);
    return alias.target + text.slice(name.length);
  }
}

function namesHost(text: string): boolean {
  const slash = text.indexOf("/");
  return slash > 0 && looksLikeHost(text.slice(0, slash));
}

/** A short name has no port, so its first colon begins the tag. */
function withoutTag(text: string): string {
  return text.split(/[:@]/, 1)[0] ?? text;
}

function requireWholeName({ target, file }: Alias, name: string): void {
  try {
    const { host, repository } = parseReference(target);
    if (namesHost(target) && target.toLowerCase() === `${host}/${repository}`) return;
  } catch (cause) {
    throw malformed(file, `the alias ${JSON.stringify(name)} does not name an image`, cause);
  }
  throw malformed(file, `the alias ${JSON.stringify(name)} does not name a host and a repository alone`);
}
