import { join } from "node:path";
import type { Reference } from "../../core/reference.js";
import { HostsTree } from "./hosts-tree.js";
import { type Location, ownLocation } from "./location.js";
import { type RegistriesPlaces, readRegistriesFiles } from "./registries-files.js";
import { RegistryRules } from "./registry-rules.js";
import { ShortNames } from "./short-names.js";

export interface LocationOptions extends Omit<RegistriesPlaces, "systemDirectory"> {
  /** The root of a tree of hosts.toml files; it must exist. `/etc/containerd/certs.d` unless given, if that exists. */
  readonly hostsDirectory?: string | undefined;
  /** `/etc`, unless a test says otherwise. */
  readonly systemDirectory?: string | undefined;
}

/**
 * Where images are asked for, as containerd's hosts.toml tree and Podman's registries.conf say.
 *
 * When both speak of a registry, one of them is followed, not a mixture: the tree's directory for this very registry
 * before a [[registry]] table, and that before the tree's `_default`. So what is said of one registry comes before
 * what is said of many. Only `blocked` always holds: a prohibition is not to be got round by a mirror.
 *
 * Files are read when they are first needed, and once.
 */
export class Locations {
  readonly #tree: HostsTree;
  readonly #places: RegistriesPlaces;
  #conf: { readonly rules: RegistryRules; readonly shortNames: ShortNames } | undefined;

  constructor(options: LocationOptions) {
    const { hostsDirectory, systemDirectory = "/etc", registriesConf, environment } = options;
    const usual = join(systemDirectory, "containerd", "certs.d");
    this.#tree = new HostsTree(hostsDirectory ?? usual, hostsDirectory !== undefined);
    this.#places = { registriesConf, environment, systemDirectory };
  }

  /**
   * Every place where a reference may be asked for, mirrors first, the registry itself or what stands for it last.
   * Throws USAGE when the reference is blocked, and for a file that is malformed or cannot be read.
   */
  locationsOf(reference: Reference): readonly [Location, ...Location[]] {
    const fromRules = this.#readConf().rules.locationsOf(reference);
    const own = this.#tree.ofHost(reference.host);
    const fallback = own === undefined && fromRules === undefined ? this.#tree.default() : undefined;
    const found = own?.hosts?.locationsOf(reference) ?? fromRules ?? fallback?.hosts?.locationsOf(reference);
    const [first, ...rest] = found ?? [ownLocation(reference)];
    if (first === undefined) return [this.#withCertificates(ownLocation(reference))];
    return [this.#withCertificates(first), ...rest.map((location) => this.#withCertificates(location))];
  }

  /** A short name as the reference it is an alias of; any other text unchanged. Throws USAGE for a malformed file. */
  expandShortName(text: string): string {
    return this.#readConf().shortNames.expand(text);
  }

  /** A directory of the tree without hosts.toml may have certificates for its host, as Docker keeps them. */
  #withCertificates(location: Location): Location {
    if (location.connection !== undefined) return location;
    const { certificates } = this.#tree.ofHost(location.host) ?? {};
    return certificates === undefined ? location : { ...location, connection: certificates };
  }

  #readConf(): { readonly rules: RegistryRules; readonly shortNames: ShortNames } {
    if (this.#conf === undefined) {
      const files = readRegistriesFiles(this.#places);
      this.#conf = { rules: new RegistryRules(files), shortNames: new ShortNames(files) };
    }
    return this.#conf;
  }
}
