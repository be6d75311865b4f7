import type { VerbSpec } from "../verb.js";
import { nearest } from "./nearest.js";

/** What to do instead of using a verb that there is none of. */
export function adviseOnVerb(name: string, verbs: readonly VerbSpec[]): string {
  const names = verbs.flatMap((verb) => [verb.name, ...(verb.aliases ?? [])]);
  const foreign = verbs.find((verb) => verb.knownElsewhereAs?.includes(name));
  const meant = foreign?.name ?? nearest(name, names);
  return meant === undefined ? "bpfcache --help lists them." : `Did you mean bpfcache ${meant}?`;
}

/** The same for an option, of the verb or of all. */
export function adviseOnOption(
  option: string,
  verb: VerbSpec | undefined,
  known: readonly string[],
  verbs: readonly VerbSpec[],
): string {
  const name = option.replace(/^-+(no-)?/, "");
  const owners = verbs.filter(({ options }) => options.some((each) => each.name === name));
  if (owners.length > 0) return `It is an option of ${owners.map((each) => each.name).join(" and ")}.`;
  const meant = nearest(name, known);
  if (meant !== undefined) return `Did you mean --${meant}?`;
  return `bpfcache ${verb === undefined ? "" : `${verb.name} `}--help lists the options.`;
}
