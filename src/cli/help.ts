import { table } from "./output.js";
import { globalOptions } from "./settings.js";
import type { OptionSpec, VerbSpec } from "./verb.js";
import { verbs } from "./verbs.js";

export function generalHelp(): string {
  return [
    "bpfcache keeps eBPF images from OCI registries in an embedded database that loaders read with no network.\n\n",
    "Usage: bpfcache [options] VERB …\n\nVerbs:\n",
    table(verbs.map(({ name, aliases = [], summary }) => [`  ${[name, ...aliases].join(", ")}`, summary])),
    "\nOptions of every verb:\n",
    optionTable(globalOptions),
    "\nbpfcache VERB --help tells more.\n",
  ].join("");
}

export function verbHelp(verb: VerbSpec): string {
  const examples = verb.examples.map((example) => `  bpfcache ${example}\n`).join("");
  return [
    `${verb.summary}\n\nUsage: bpfcache ${[verb.name, verb.usage].join(" ").trim()}\n`,
    verb.options.length > 0 ? `\nOptions:\n${optionTable(verb.options)}` : "",
    `\nOptions of every verb:\n${optionTable(globalOptions)}`,
    `\nExamples:\n${examples}`,
  ].join("");
}

function optionTable(options: readonly OptionSpec[]): string {
  return table(
    options.map(({ name, short, value, summary }) => [
      `  ${short === undefined ? "    " : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`,
      summary,
    ]),
  );
}
