import { globalOptions } from "../settings.js";
import type { OptionSpec } from "../verb.js";
import { verbs } from "../verbs.js";
import { type Candidates, candidatesOfOption, candidatesOfVerb, namesOf } from "./candidates.js";

export function script(): string {
  return [
    "# fish completion for bpfcache, made by: bpfcache completion fish",
    "",
    "complete -c bpfcache -f",
    ...globalOptions.map((option) => optionLine(option, "")),
    ...verbs.flatMap((verb) =>
      namesOf(verb).map(
        (name) => `complete -c bpfcache -n __fish_use_subcommand -a ${name} -d ${quoted(verb.summary)}`,
      ),
    ),
    ...verbs.flatMap((verb) => {
      const condition = ` -n ${quoted(`__fish_seen_subcommand_from ${namesOf(verb).join(" ")}`)}`;
      const words = argumentsOf(candidatesOfVerb(verb));
      return [
        ...verb.options.map((option) => optionLine(option, condition)),
        ...(words === "" ? [] : [`complete -c bpfcache${condition}${words}`]),
      ];
    }),
    "",
  ].join("\n");
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
