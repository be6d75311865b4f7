import { globalOptions } from "../settings.js";
import type { OptionSpec, VerbSpec } from "../verb.js";
import { verbs } from "../verbs.js";
import {
  type Candidates,
  candidatesOfOption,
  candidatesOfVerb,
  flagsOf,
  groups,
  namesOf,
  quoted,
  secondWords,
} from "./candidates.js";

export function script(): string {
  return `#compdef bpfcache
# zsh completion for bpfcache, made by: bpfcache completion zsh

_bpfcache_references() {
	local -a references
	references=(\${(f)"$(bpfcache completion references 2>/dev/null)"})
	compadd -a references
}

_bpfcache() {
	local context state state_descr line ret=1
	typeset -A opt_args
	_arguments -C \\
${specs(globalOptions, "\t\t")}
		'1: :->verb' \\
		'*:: :->words' && ret=0

	case $state in
	verb)
		local -a verbs
		verbs=(
${described()}
		)
		_describe verb verbs && ret=0
		;;
	words)
		case $line[1] in
${singles().map(verbCase).join("\n")}
${[...groups()].map(groupCase).join("\n")}
		esac
		;;
	esac
	return ret
}

if [[ $funcstack[1] == _bpfcache ]]; then
	_bpfcache "$@"
else
	compdef _bpfcache bpfcache
fi
`;
}

function singles(): readonly VerbSpec[] {
  return verbs.filter(({ name }) => !name.includes(" "));
}

/** Each verb with what it does, for the list that zsh shows. */
function described(): string {
  const lines = [
    ...singles().flatMap((verb) => namesOf(verb).map((name) => `${name}:${verb.summary}`)),
    ...[...groups()].map(([word, members]) => `${word}:${members.flatMap(secondWords).join(", ")}`),
  ];
  return lines.map((line) => `			${quoted(line)}`).join("\n");
}

/** Of verbs with two words, the second is looked at as if it were the first. */
function groupCase([word, members]: readonly [string, readonly VerbSpec[]]): string {
  return `		${word})
			if ((CURRENT == 2)); then
				compadd ${members.flatMap(secondWords).join(" ")} && ret=0
			else
				local second=$words[2]
				shift words
				((CURRENT--))
				case $second in
${members.map((verb) => verbCase(verb)).join("\n")}
				esac
			fi
			;;`;
}

function verbCase(verb: VerbSpec): string {
  const words = actionOf(candidatesOfVerb(verb));
  const options = specs([...verb.options, ...globalOptions], "\t\t\t\t");
  return [
    `		${secondWords(verb).join("|")})`,
    "			_arguments \\",
    words === "" ? options.replace(/ \\$/, " && ret=0") : options,
    words === "" ? "" : `				${quoted(`*: :${words}`)} && ret=0`,
    "			;;",
  ]
    .filter(Boolean)
    .join("\n");
}

function specs(options: readonly OptionSpec[], indent: string): string {
  return options.map((option) => `${indent}${spec(option)} \\`).join("\n");
}

/** As _arguments wants it: what excludes it, its flags, what it is for, and what its value is. */
function spec(option: OptionSpec): string {
  const flags = flagsOf(option);
  const isMultiple = option.multiple === true;
  const excluded = isMultiple ? "" : quoted(`(${flags.join(" ")})`);
  const repeated = isMultiple ? "'*'" : "";
  const names = flags.length === 1 ? (flags[0] ?? "") : `{${flags.join(",")}}`;
  const about = `[${option.summary.replace(/[[\]\\]/g, "\\$&")}]`;
  const action = actionOf(candidatesOfOption(option)) || " ";
  const value = option.value === undefined ? "" : `:${option.value.replace(/[:[\]]/g, "\\$&")}:${action}`;
  return `${excluded}${repeated}${names}${quoted(about + value)}`;
}

function actionOf({ words, references, files, directories }: Candidates): string {
  if (words.length > 0) return `(${words.join(" ")})`;
  if (references && files)
    return "_alternative 'references:reference:_bpfcache_references' 'files:file:_files'";
  if (references) return "_bpfcache_references";
  if (directories) return "_files -/";
  return files ? "_files" : "";
}
