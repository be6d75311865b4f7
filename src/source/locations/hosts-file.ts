import { join } from "node:path";
import type { Reference } from "../../core/reference.js";
import { connectionOf, type HostsFilePlace, speaksOfTls } from "./host-connection.js";
import { parseHostUrl } from "./host-url.js";
import { type HostOptions, hostsFileSchema } from "./hosts-schema.js";
import { allCapabilities, type Capability, type Location, ownLocation, type Scheme } from "./location.js";
import { readTomlFile } from "./toml-file.js";

/** A place as hosts.toml describes it, whichever repository is asked for. Without host it is the registry itself. */
interface Place extends Omit<Location, "host" | "repository" | "namespace"> {
  readonly host: string | undefined;
}

/** One hosts.toml of containerd: its hosts in the order of the file, its server last. */
export class HostsFile {
  readonly #places: readonly Place[];

  private constructor(
    readonly path: string,
    places: readonly Place[],
  ) {
    this.#places = places;
  }

  /** The hosts.toml in a directory, or undefined when it has none. Throws USAGE. */
  static read(directory: string): HostsFile | undefined {
    const file = join(directory, "hosts.toml");
    const content = readTomlFile(file, hostsFileSchema);
    if (content === undefined) return undefined;
    const place = { file, directory };
    const mirrors = Object.entries(content.host ?? {}).map(([url, options]) => hostAt(url, options, place));
    const { server, ...options } = content;
    return new HostsFile(file, [
      ...mirrors,
      server ? hostAt(server, options, place) : theRegistryItself(options, place),
    ]);
  }

  locationsOf(reference: Reference): readonly Location[] {
    return this.#places.map((place) => {
      const host = place.host ?? reference.host;
      const namespace = host === reference.host ? undefined : reference.host;
      return { ...place, host, repository: reference.repository, namespace };
    });
  }
}

function hostAt(url: string, options: HostOptions, place: HostsFilePlace): Place {
  const { host, scheme, hasPort, apiPath } = parseHostUrl(url, options.override_path ?? false, place.file);
  // containerd tries https first at an http host for which it was told anything about TLS.
  const isAmbiguous = scheme === "http:" && speaksOfTls(options);
  const schemes: readonly [Scheme, ...Scheme[]] = isAmbiguous && hasPort ? ["https:", "http:"] : [scheme];
  return { host, schemes, apiPath, ...commonOf(options, place) };
}

function theRegistryItself(options: HostOptions, place: HostsFilePlace): Place {
  const { apiPath } = ownLocation({ host: "", repository: "" });
  return { host: undefined, apiPath, ...commonOf(options, place) };
}

function commonOf(
  options: HostOptions,
  place: HostsFilePlace,
): Pick<Place, "capabilities" | "headers" | "connection"> {
  return {
    capabilities: capabilitiesOf(options.capabilities),
    headers: headersOf(options.header),
    connection: connectionOf(options, place),
  };
}

/** A host of which nothing is said may be asked for everything. */
function capabilitiesOf(names: HostOptions["capabilities"]): ReadonlySet<Capability> {
  if (names === undefined || names.length === 0) return allCapabilities;
  return new Set(names.filter((name) => name !== "push"));
}

function headersOf(header: HostOptions["header"]): Readonly<Record<string, string>> | undefined {
  if (header === undefined) return undefined;
  return Object.fromEntries(
    Object.entries(header).map(([name, value]) => [
      name.toLowerCase(),
      typeof value === "string" ? value : value.join(", "),
    ]),
  );
}
