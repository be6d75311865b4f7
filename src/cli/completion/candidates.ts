import { topics } from "../help/topics.js";
import type { OptionSpec, VerbSpec } from "../verb.js";
import { verbs } from "../verbs.js";

/** What may stand in a place of the command line. */
export interface Candidates {
  readonly words: readonly string[];
  /** References that are cached. */
  readonly references: boolean;
  readonly files: boolean;
  readonly directories: boolean;
}

/** What the value of an option may be, which the word that stands for it in help says. */
export function candidatesOfOption({ value = "", choices = [] }: OptionSpec): Candidates {
  return {
    words: choices,
    references: value === "REF",
    files: value === "FILE" || value === "PATH" || value === "LOCK",
    directories: value === "DIR",
  };
}

/** What a word after the verb may be, which its usage says in the same words. */
export function candidatesOfVerb({ name, usage, words }: VerbSpec): Candidates {
  const named =
    name === "help" ? [...verbs.map((verb) => verb.name), ...topics.map((topic) => topic.name)] : [];
  return {
    words: [...(words.choices ?? []), ...named],
    references: /\bREF\b/.test(usage),
    files: /\b(FILE|PATH|OBJECT)\b/.test(usage.replace(/-o (FILE|PATH)|-f FILE/g, "")),
    directories: false,
  };
}

/** As it is written: with its short form, where it has one. */
export function flagsOf({ name, short }: OptionSpec): readonly string[] {
  return short === undefined ? [`--${name}`] : [`-${short}`, `--${name}`];
}

export function namesOf({ name, aliases = [] }: VerbSpec): readonly string[] {
  return [name, ...aliases];
}

/** What may stand where a verb begins: its name, or the first word of two, each once. */
export function firstWords(): readonly string[] {
  return [...new Set(verbs.flatMap(namesOf).map((name) => name.split(" ")[0] ?? name))];
}

/** Verbs that have the same first of two words, by that word. */
export function groups(): ReadonlyMap<string, readonly VerbSpec[]> {
  const found = new Map<string, VerbSpec[]>();
  for (const verb of verbs) {
    const [first = "", second] = verb.name.split(" ");
    if (second !== undefined) found.set(first, [...(found.get(first) ?? []), verb]);
  }
  return found;
}

/** Without the first of two words. */
export function secondWords(verb: VerbSpec): readonly string[] {
  return namesOf(verb).map((name) => name.split(" ")[1] ?? name);
}

/** Text within single quotes, as every shell reads it. */
export function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
