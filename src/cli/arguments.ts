import { parseArgs } from "node:util";
import { BpfcacheError } from "../core/errors.js";
import type { OptionSpec } from "./verb.js";

export type OptionValue = string | boolean | readonly string[];

/** The options of a command line, after parsing. */
export class Arguments {
  readonly #values: Readonly<Record<string, OptionValue>>;

  constructor(values: Readonly<Record<string, OptionValue>>) {
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
    return typeof value === "object" ? value : [];
  }

  /** What was given, by name. */
  get given(): Readonly<Record<string, OptionValue>> {
    return this.#values;
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
  const [verb, second] = tokensOf(argv, globalOptions).filter((token) => token.kind === "positional");
  if (verb === undefined) return { verb: undefined, rest: argv };
  const words = second !== undefined && isFirstWord(verb.value) ? [verb, second] : [verb];
  return {
    verb: words.map(({ value }) => value).join(" "),
    rest: argv.filter((_, index) => words.every((word) => word.index !== index)),
  };
}

/**
 * Throws USAGE for an unknown option, one without its value, and a value for a flag; what to do about an unknown one,
 * `adviseOn` says. A flag is taken back with `--no-` before its name: it may be set in a configuration file.
 */
export function parseOptions(
  argv: readonly string[],
  options: readonly OptionSpec[],
  adviseOn: (unknownOption: string) => string | undefined = () => undefined,
): { readonly words: readonly string[]; readonly options: Arguments } {
  const words: string[] = [];
  const values: Record<string, OptionValue> = {};
  for (const token of tokensOf(argv, options)) {
    if (token.kind === "positional") words.push(token.value);
    if (token.kind === "option") set(values, token, options, adviseOn);
  }
  return { words, options: new Arguments(values) };
}

interface OptionToken {
  readonly name: string;
  readonly rawName: string;
  readonly value?: string | undefined;
  readonly inlineValue?: boolean | undefined;
}

function set(
  values: Record<string, OptionValue>,
  { name, rawName, value, inlineValue }: OptionToken,
  options: readonly OptionSpec[],
  adviseOn: (unknownOption: string) => string | undefined,
): void {
  const spec = options.find((option) => option.name === name);
  if (spec?.value !== undefined) {
    const text = requireValue(spec, rawName, value, inlineValue === true);
    const earlier = values[name];
    values[name] = spec.multiple === true ? [...(typeof earlier === "object" ? earlier : []), text] : text;
    return;
  }
  const taken = name.startsWith("no-") ? options.find((each) => each.name === name.slice(3)) : undefined;
  const flag = spec ?? (taken?.value === undefined ? taken : undefined);
  if (flag === undefined) {
    throw new BpfcacheError("USAGE", `there is no option ${rawName}`, { hint: adviseOn(rawName) });
  }
  if (value !== undefined) throw new BpfcacheError("USAGE", `${rawName} takes no value`);
  values[flag.name] = spec !== undefined;
}

/** Of `--lock --json` it is more likely that the value was forgotten than that the file has such a name. */
function requireValue(
  spec: OptionSpec,
  rawName: string,
  value: string | undefined,
  isInline: boolean,
): string {
  const isMissing = value === undefined || (!isInline && value.length > 1 && value.startsWith("-"));
  if (!isMissing) return value;
  throw new BpfcacheError("USAGE", `${rawName} needs a value: ${rawName} ${spec.value}`, {
    hint: value === undefined ? undefined : `If ${value} is meant to be it, write --${spec.name}=${value}.`,
  });
}

type Token = NonNullable<ReturnType<typeof parseArgs>["tokens"]>[number];

function tokensOf(argv: readonly string[], specs: readonly OptionSpec[]): readonly Token[] {
  const options = Object.fromEntries(
    specs.map(({ name, short, value }) => [
      name,
      {
        type: value === undefined ? ("boolean" as const) : ("string" as const),
        ...(short !== undefined && { short }),
      },
    ]),
  );
  return parseArgs({ args: [...argv], options, allowPositionals: true, strict: false, tokens: true }).tokens;
}
