import { parseReference } from "../../core/reference.js";
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
    const name = withoutTag(text);
    const alias = this.#aliases.get(name);
    if (alias === undefined || namesHost(name)) return text;
    requireWholeName(alias, name);
    return alias.target + text.slice(name.length);
  }
}

/** Whether the first part of a name is a registry's. */
export function namesHost(text: string): boolean {
  const slash = text.indexOf("/");
  const first = text.slice(0, Math.max(0, slash));
  return first === "localhost" || /[.:[]|[A-Z]/.test(first);
}

/** A short name has no port, so its first colon begins the tag. */
function withoutTag(text: string): string {
  return text.split(/[:@]/, 1)[0] ?? text;
}

function requireWholeName({ target, file }: Alias, name: string): void {
  const isWhole = namesHost(target) && withoutTag(target.slice(target.indexOf("/"))).length > 1;
  if (!isWhole || /[:@]/.test(target.slice(target.indexOf("/")))) {
    throw malformed(file, `the alias ${JSON.stringify(name)} does not name a host and a repository alone`);
  }
  parseReference(target);
}
