import { globalOptions } from "../settings.js";
import type { OptionSpec, VerbSpec } from "../verb.js";
import { findVerbSpec, verbs } from "../verbs.js";
import {
  type Candidates,
  candidatesOfOption,
  candidatesOfVerb,
  firstWords,
  groups,
  namesOf,
  secondWords,
} from "./candidates.js";

export function script(): string {
  return [
    "# fish completion for bpfcache, made by: bpfcache completion fish",
    "",
    "complete -c bpfcache -f",
    ...globalOptions.map((option) => optionLine(option, "")),
    ...firstWords().map((word) => {
      const summary =
        findVerbSpec(word)?.summary ?? (groups().get(word) ?? []).flatMap(secondWords).join(", ");
      return `complete -c bpfcache -n __fish_use_subcommand -a ${word} -d ${quoted(summary)}`;
    }),
    ...[...groups()].flatMap(([word, members]) =>
      members.map((verb) => {
        const begun = members.flatMap(secondWords).join(" ");
        const condition = `${seen(word)}; and not ${seen(begun)}`;
        return `complete -c bpfcache -n ${quoted(condition)} -a ${quoted(secondWords(verb).join(" "))} -d ${quoted(verb.summary)}`;
      }),
    ),
    ...verbs.flatMap((verb) => {
      const condition = ` -n ${quoted(isUnderWay(verb))}`;
      const words = argumentsOf(candidatesOfVerb(verb));
      return [
        ...verb.options.map((option) => optionLine(option, condition)),
        ...(words === "" ? [] : [`complete -c bpfcache${condition}${words}`]),
      ];
    }),
    "",
  ].join("\n");
}

function seen(words: string): string {
  return `__fish_seen_subcommand_from ${words}`;
}

/** Whether the line has the verb: the second of two words may be a verb by itself too. */
function isUnderWay(verb: VerbSpec): string {
  const [first = "", second] = verb.name.split(" ");
  if (second !== undefined) return `${seen(first)}; and ${seen(secondWords(verb).join(" "))}`;
  return [seen(namesOf(verb).join(" ")), ...[...groups().keys()].map((word) => `and not ${seen(word)}`)].join(
    "; ",
  );
}

function optionLine(option: OptionSpec, condition: string): string {
  const { name, short, value, summary } = option;
  const shortFlag = short === undefined ? "" : ` -s ${short}`;
  const candidates = candidatesOfOption(option);
  // -x takes a value and offers no files beside it, -r does.
  const taken = value === undefined ? "" : `${candidates.files ? " -r" : " -x"}${argumentsOf(candidates)}`;
  return `complete -c bpfcache${condition}${shortFlag} -l ${name}${taken} -d ${quoted(summary)}`;
}

function argumentsOf({ words, references, files, directories }: Candidates): string {
  const sources = [
    words.join(" "),
    references ? "(bpfcache completion references 2>/dev/null)" : "",
    directories ? "(__fish_complete_directories)" : "",
  ].filter(Boolean);
  return `${files ? " -F" : ""}${sources.length === 0 ? "" : ` -a ${quoted(sources.join(" "))}`}`;
}

/** Within single quotes fish reads a backslash before a quote or a backslash. */
function quoted(text: string): string {
  return `'${text.replace(/['\\]/g, "\\$&")}'`;
}
