import { parseArgs } from "node:util";
import { BpfcacheError } from "../core/errors.js";
import type { OptionSpec } from "./verb.js";

type Values = Readonly<Record<string, string | boolean | readonly (string | boolean)[] | undefined>>;

/** The options of a command line, after parsing. */
export class Arguments {
  readonly #values: Values;

  constructor(values: Values) {
    this.#values = values;
  }

  isSet(name: string): boolean {
    return this.#values[name] === true;
  }

  value(name: string): string | undefined {
    const value = this.#values[name];
    return typeof value === "string" ? value : undefined;
  }

  values(name: string): readonly string[] {
    const value = this.#values[name];
    return Array.isArray(value) ? value.filter((item) => typeof item === "string") : [];
  }
}

export interface CommandLine {
  /** The first word that is not an option or its value, or the first two. */
  readonly verb: string | undefined;
  /** Everything but that. */
  readonly rest: readonly string[];
}

/** Finds the verb, whether global options stand before or after it. */
export function findVerb(
  argv: readonly string[],
  globalOptions: readonly OptionSpec[],
  isFirstWord: (word: string) => boolean,
): CommandLine {
  const { tokens } = parseArgs({
    args: [...argv],
    options: toParseArgs(globalOptions),
    allowPositionals: true,
    strict: false,
    tokens: true,
  });
  const [verb, second] = tokens.filter((token) => token.kind === "positional");
  if (verb === undefined) return { verb: undefined, rest: argv };
  const words = second !== undefined && isFirstWord(verb.value) ? [verb, second] : [verb];
  return {
    verb: words.map(({ value }) => value).join(" "),
    rest: argv.filter((_, index) => words.every((word) => word.index !== index)),
  };
}

/** Throws USAGE for an unknown option or one without its value. */
export function parseOptions(
  argv: readonly string[],
  options: readonly OptionSpec[],
): { readonly words: readonly string[]; readonly options: Arguments } {
  try {
    const { values, positionals } = parseArgs({
      args: [...argv],
      options: toParseArgs(options),
      allowPositionals: true,
      strict: true,
    });
    return { words: positionals, options: new Arguments(values) };
  } catch (error) {
    // Node's messages end with advice about "--" that helps nobody here.
    const message = error instanceof Error ? (error.message.split(". ")[0] ?? error.message) : String(error);
    throw new BpfcacheError("USAGE", message.charAt(0).toLowerCase() + message.slice(1), { cause: error });
  }
}

function toParseArgs(
  specs: readonly OptionSpec[],
): Record<string, { type: "string" | "boolean"; short?: string; multiple?: boolean }> {
  return Object.fromEntries(
    specs.map(({ name, short, value, multiple }) => [
      name,
      {
        type: value === undefined ? ("boolean" as const) : ("string" as const),
        ...(short !== undefined && { short }),
        ...(multiple !== undefined && { multiple }),
      },
    ]),
  );
}
