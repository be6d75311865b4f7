#!/usr/bin/env node
import { BpfcacheError, toBpfcacheError } from "../core/errors.js";
import { type Arguments, findVerb, parseOptions } from "./arguments.js";
import { configure } from "./config/configuration.js";
import { adviseOnOption, adviseOnVerb } from "./help/advice.js";
import { Output } from "./output.js";
import { type Progress, startProgress } from "./progress.js";
import { globalOptions, readSettings, type Settings } from "./settings.js";
import { expandShortNames } from "./short-names.js";
import type { OptionSpec, VerbSpec } from "./verb.js";
import { findVerbSpec, isFirstWord, verbs } from "./verbs.js";

const interruptedStatus = 130;

async function main(argv: readonly string[]): Promise<number> {
  const output = new Output(argv.includes("--json"));
  try {
    const { verb: name, rest } = findVerb(argv, globalOptions, isFirstWord);
    if (name === undefined) return await runWithoutVerb(argv);
    const verb = findVerbSpec(name);
    if (verb === undefined) {
      if (isFirstWord(name)) return await runGroup(name, rest);
      const hint = adviseOnVerb(name, verbs);
      throw new BpfcacheError("USAGE", `there is no verb ${JSON.stringify(name)}`, { hint });
    }
    return await runVerb(verb, rest);
  } catch (error) {
    return output.error(toBpfcacheError(error));
  }
}

async function runWithoutVerb(argv: readonly string[]): Promise<number> {
  const { options } = parse(argv, globalOptions, undefined);
  if (!options.isSet("help"))
    throw new BpfcacheError("USAGE", "no verb given", { hint: "bpfcache --help lists them." });
  const { generalHelp } = await import("./help/overview.js");
  process.stdout.write(generalHelp());
  return 0;
}

/** The first word of verbs that have two says which they are, but nothing by itself. */
async function runGroup(word: string, argv: readonly string[]): Promise<number> {
  const { groupHelp } = await import("./help/overview.js");
  const { options } = parse(argv, globalOptions, undefined);
  if (!options.isSet("help")) {
    const names = verbs.map(({ name }) => name).filter((name) => name.startsWith(`${word} `));
    throw new BpfcacheError("USAGE", `${word} is the first word of verbs that have two`, {
      hint: `They are ${names.join(", ")}.`,
    });
  }
  process.stdout.write(groupHelp(word));
  return 0;
}

async function runVerb(verb: VerbSpec, argv: readonly string[]): Promise<number> {
  const { words, options } = parse(argv, [...verb.options, ...globalOptions], verb);
  if (options.isSet("help")) {
    const { verbHelp } = await import("./help/overview.js");
    process.stdout.write(verbHelp(verb));
    return 0;
  }
  requireWords(words, verb);
  const configuration = await configure(options, process.env);
  const settings = readSettings(configuration.arguments, process.env, verb);
  requirePlatforms(settings, verb);
  const progress = startProgress(settings.progress, settings.isVerbose);
  const output = new Output(settings.isJson, () => progress.end());
  const { run } = await verb.load();
  try {
    const { onEvent, tally } = progress;
    const expanded = verb.words.areReferences === true ? await expandShortNames(words, settings) : words;
    const signal = interruptSignal(progress);
    await run({ words: expanded, options, settings, configuration, output, onEvent, tally, signal });
    return 0;
  } finally {
    progress.end();
  }
}

function parse(
  argv: readonly string[],
  specs: readonly OptionSpec[],
  verb: VerbSpec | undefined,
): { readonly words: readonly string[]; readonly options: Arguments } {
  const known = specs.map(({ name }) => name);
  return parseOptions(argv, specs, (unknown) => adviseOnOption(unknown, verb, known, verbs));
}

function requireWords(words: readonly string[], { name, usage, words: { min, max } }: VerbSpec): void {
  if (words.length >= min && words.length <= max) return;
  throw new BpfcacheError("USAGE", `usage: bpfcache ${[name, usage].join(" ").trim()}`, {
    hint: `bpfcache ${name} --help tells more.`,
  });
}

function requirePlatforms({ allPlatforms, platforms }: Settings, verb: VerbSpec): void {
  if (allPlatforms && verb.takesAllPlatforms !== true) {
    throw new BpfcacheError("USAGE", `${verb.name} takes one platform`, {
      hint: "prefetch, seed and export take all.",
    });
  }
  if (platforms.length > 1 && verb.takesSeveralPlatforms !== true) {
    throw new BpfcacheError("USAGE", `${verb.name} takes one platform`, { hint: "export takes several." });
  }
}

/** The first SIGINT or SIGTERM asks for an orderly end; what is published stays. The second ends at once. */
function interruptSignal(progress: Progress): AbortSignal {
  const controller = new AbortController();
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(interruptedStatus);
    progress.note("stopping; what is complete stays (once more ends at once)");
    controller.abort();
  };
  process.on("SIGINT", interrupt);
  process.on("SIGTERM", interrupt);
  return controller.signal;
}

// A reader that has seen enough, such as head, closes the pipe: no reason to complain. A verb that listens for itself
// says what became of its output.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE" && process.stdout.listenerCount("error") === 1) throw error;
});

process.exitCode = await main(process.argv.slice(2));
