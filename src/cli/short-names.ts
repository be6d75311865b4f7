import { looksLikeHost } from "../core/reference.js";
import type { Settings } from "./settings.js";

/**
 * References with Podman's short-name aliases (registries.conf, [aliases]) written out. That is a convenience of the
 * command line: in the library a name has one meaning, on every machine. Search registries are not followed, for
 * what a name then means depends on which of them answers. Throws USAGE for a malformed file.
 */
export async function expandShortNames(
  references: readonly string[],
  { registriesConf }: Settings,
): Promise<readonly string[]> {
  if (references.every(namesHost)) return references;
  const { Locations } = await import("../source/locations/locations.js");
  const locations = new Locations({ registriesConf, environment: process.env });
  return references.map((text) => (namesHost(text) ? text : locations.expandShortName(text)));
}

function namesHost(text: string): boolean {
  const slash = text.indexOf("/");
  return slash > 0 && looksLikeHost(text.slice(0, slash));
}
