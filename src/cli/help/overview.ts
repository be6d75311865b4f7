import { globalOptions } from "../settings.js";
import type { VerbSpec } from "../verb.js";
import { verbs } from "../verbs.js";
import { definitions, optionList, paragraph } from "./layout.js";
import { topics } from "./topics.js";

const purpose =
  "bpfcache keeps eBPF images from OCI registries in an embedded database that loaders read with no network.";

/** `bpfcache --help`. */
export function generalHelp(): string {
  return [
    `${paragraph(purpose)}\nUsage: bpfcache [options] VERB …\n\nVerbs:\n`,
    definitions(verbs.map(({ name, aliases = [], summary }) => [[name, ...aliases].join(", "), summary])),
    `\nOptions of every verb:\n${optionList(globalOptions)}`,
    "\nMore help:\n",
    definitions([
      ["bpfcache VERB --help", "a verb, its options and examples"],
      ...topics.map(({ name, summary }) => [`bpfcache help ${name}`, summary] as const),
    ]),
  ].join("");
}

/** `bpfcache WORD --help`, of a word that several verbs begin with. */
export function groupHelp(word: string): string {
  const members = verbs.filter(({ name }) => name.startsWith(`${word} `));
  return `${definitions(members.map(({ name, summary }) => [`bpfcache ${name}`, summary]))}\nEach tells more with --help.\n`;
}

/** `bpfcache VERB --help`. */
export function verbHelp(verb: VerbSpec): string {
  const { name, aliases = [], summary, description, usage, options, examples } = verb;
  // A verb may have an option of its own by the name of one that all have.
  const common = globalOptions.filter((each) => !options.some((own) => own.name === each.name));
  return [
    paragraph(`${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`),
    `\nUsage: bpfcache ${[name, usage].join(" ").trim()}\n`,
    aliases.length === 0 ? "" : `Also:  ${aliases.map((alias) => `bpfcache ${alias}`).join(", ")}\n`,
    description === undefined ? "" : `\n${paragraph(description)}`,
    options.length === 0 ? "" : `\nOptions:\n${optionList(options)}`,
    `\nExamples:\n${examples.map((example) => `  bpfcache ${example}\n`).join("")}`,
    `\nOptions of every verb:\n${optionList(common)}`,
  ].join("");
}
