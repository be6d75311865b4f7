#!/usr/bin/env node
import { BpfcacheError, toBpfcacheError } from "../core/errors.js";
import { findVerb, parseOptions } from "./arguments.js";
import { generalHelp, verbHelp } from "./help.js";
import { Output } from "./output.js";
import { startProgress } from "./progress.js";
import { globalOptions, readSettings } from "./settings.js";
import { expandShortNames } from "./short-names.js";
import type { VerbSpec } from "./verb.js";
import { findVerbSpec, isFirstWord, verbs } from "./verbs.js";

const interruptedStatus = 130;

async function main(argv: readonly string[]): Promise<number> {
  const output = new Output(argv.includes("--json"));
  try {
    const { verb: name, rest } = findVerb(argv, globalOptions, isFirstWord);
    if (name === undefined) return showHelp(argv);
    const verb = findVerbSpec(name);
    if (verb === undefined) {
      throw new BpfcacheError("USAGE", `there is no verb ${JSON.stringify(name)}`, {
        hint: isFirstWord(name)
          ? `They are ${verbs
              .filter((each) => each.name.startsWith(`${name} `))
              .map((each) => each.name)
              .join(", ")}.`
          : "bpfcache --help lists them.",
      });
    }
    return await runVerb(verb, rest);
  } catch (error) {
    return output.error(toBpfcacheError(error));
  }
}

function showHelp(argv: readonly string[]): number {
  const { options } = parseOptions(argv, globalOptions);
  if (!options.isSet("help"))
    throw new BpfcacheError("USAGE", "no verb given", { hint: "bpfcache --help lists them." });
  process.stdout.write(generalHelp());
  return 0;
}

async function runVerb(verb: VerbSpec, argv: readonly string[]): Promise<number> {
  const { words, options } = parseOptions(argv, [...globalOptions, ...verb.options]);
  if (options.isSet("help")) {
    process.stdout.write(verbHelp(verb));
    return 0;
  }
  if (words.length < verb.words.min || words.length > verb.words.max) {
    throw new BpfcacheError("USAGE", `usage: bpfcache ${[verb.name, verb.usage].join(" ").trim()}`);
  }
  const settings = readSettings(options, process.env, verb);
  if (settings.allPlatforms && verb.takesAllPlatforms !== true) {
    throw new BpfcacheError("USAGE", `${verb.name} takes one platform`, {
      hint: "prefetch, seed and export take all.",
    });
  }
  if (settings.platforms.length > 1 && verb.takesSeveralPlatforms !== true) {
    throw new BpfcacheError("USAGE", `${verb.name} takes one platform`, { hint: "export takes several." });
  }
  const progress = startProgress(settings.progress, settings.isVerbose);
  const output = new Output(settings.isJson, () => progress.end());
  const { run } = await verb.load();
  try {
    const { onEvent } = progress;
    const expanded = verb.words.areReferences === true ? await expandShortNames(words, settings) : words;
    await run({ words: expanded, options, settings, output, onEvent, signal: interruptSignal() });
    return 0;
  } finally {
    progress.end();
  }
}

/** The first SIGINT or SIGTERM asks for an orderly end; what is published stays. The second ends at once. */
function interruptSignal(): AbortSignal {
  const controller = new AbortController();
  const interrupt = (): void => {
    if (controller.signal.aborted) process.exit(interruptedStatus);
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
