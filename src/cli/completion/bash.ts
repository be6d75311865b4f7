import { globalOptions } from "../settings.js";
import type { OptionSpec } from "../verb.js";
import { verbs } from "../verbs.js";
import {
  type Candidates,
  candidatesOfOption,
  candidatesOfVerb,
  firstWords,
  flagsOf,
  groups,
  namesOf,
  quoted,
  secondWords,
} from "./candidates.js";

/** For bash 4.3 and later; bash-completion need not be there. */
export function script(): string {
  const valued = globalOptions.filter(({ value }) => value !== undefined).flatMap(flagsOf);
  return `# bash completion for bpfcache, made by: bpfcache completion bash

_bpfcache() {
	# Bash breaks words at colons, which references have: the line itself is read.
	local line=\${COMP_LINE:0:COMP_POINT} words word current previous verb= options= reply=() filter i
	read -ra words <<<"$line"
	[[ $line == *[[:space:]] ]] && words+=("")
	current=\${words[-1]}
	previous=
	((\${#words[@]} > 1)) && previous=\${words[-2]}
	if [[ $current == --*=* ]]; then
		previous=\${current%%=*}
		current=\${current#*=}
	fi
	for ((i = 1; i < \${#words[@]} - 1; i++)); do
		case \${words[i]} in
		${valued.join(" | ")}) ((i++)) ;;
		-*) ;;
		*)
			verb=\${verb:+$verb }\${words[i]}
			[[ " ${[...groups().keys()].join(" ")} " == *" $verb "* ]] || break
			;;
		esac
	done

	case "$verb $previous" in
${optionCases()}
	*)
		case $verb in
		"")
			options=${quoted(globalOptions.flatMap(flagsOf).join(" "))}
			reply=(${quoted(firstWords().join(" "))})
			;;
${groupCases()}
${verbCases()}
		esac
		[[ $current == -* ]] && reply=("$options")
		;;
	esac

	mapfile -t COMPREPLY < <(compgen -W "\${reply[*]}" -- "$current")
	[[ -n $filter ]] && compopt -o filenames && mapfile -t -O "\${#COMPREPLY[@]}" COMPREPLY < <(compgen "$filter" -- "$current")
	# What stands before the last colon or equals sign is a word of its own to bash.
	local head=\${current%"\${current##*[:=]}"}
	COMPREPLY=("\${COMPREPLY[@]#"$head"}")
}

complete -F _bpfcache bpfcache
`;
}

function optionCases(): string {
  const cases = (pattern: (flag: string) => string, options: readonly OptionSpec[]): string[] =>
    options
      .filter(({ value }) => value !== undefined)
      .map((option) => {
        const patterns = flagsOf(option).map(pattern).join(" | ");
        return `	${patterns}) ${replyOf(candidatesOfOption(option)) || ":"} ;;`;
      });
  return [
    ...verbs.flatMap((verb) =>
      namesOf(verb).flatMap((name) => cases((flag) => `"${name} ${flag}"`, verb.options)),
    ),
    ...cases((flag) => `*" ${flag}"`, globalOptions),
  ].join("\n");
}

function groupCases(): string {
  return [...groups()]
    .map(([word, members]) => `		${word}) reply=(${quoted(members.flatMap(secondWords).join(" "))}) ;;`)
    .join("\n");
}

function verbCases(): string {
  return verbs
    .map((verb) => {
      const flags = [...verb.options, ...globalOptions].flatMap(flagsOf).join(" ");
      const reply = replyOf(candidatesOfVerb(verb));
      return [
        `		${namesOf(verb)
          .map((name) => `"${name}"`)
          .join(" | ")})`,
        `			options=${quoted(flags)}`,
        reply === "" ? "" : `			[[ $current == -* ]] || { ${reply}; }`,
        "			;;",
      ]
        .filter(Boolean)
        .join("\n");
    })
    .join("\n");
}

function replyOf({ words, references, files, directories }: Candidates): string {
  return [
    words.length > 0 ? `reply=(${quoted(words.join(" "))})` : "",
    references ? 'reply+=("$(bpfcache completion references 2>/dev/null)")' : "",
    files ? "filter=-f" : "",
    directories ? "filter=-d" : "",
  ]
    .filter(Boolean)
    .join(" && ");
}
