import type { EventSink } from "../core/events.js";
import type { Arguments } from "./arguments.js";
import type { Configuration } from "./config/configuration.js";
import type { Output } from "./output.js";
import type { Settings } from "./settings.js";
import type { Tally } from "./terminal/tally.js";

/**
 * An option of the command line, for parsing, help, completion and the manual alike. What its value is called says what
 * completes it: FILE, PATH, DIR or REF.
 */
export interface OptionSpec {
  readonly name: string;
  readonly short?: string;
  /** What stands for the value in help; a flag has none. */
  readonly value?: string;
  readonly multiple?: boolean;
  readonly summary: string;
  /** The values that it takes, when they can be told beforehand. */
  readonly choices?: readonly string[];
  /** What holds when it is not given, as it would be written. */
  readonly default?: string | (() => string | undefined);
}

/** An option of every verb. Unless it is only for one call, it is also a setting of the configuration file. */
export interface GlobalOptionSpec extends OptionSpec {
  /** The environment variable, where it is not made of the name. */
  readonly environment?: string;
  /** It means something for one call alone, and no file or variable sets it. */
  readonly isPerCall?: boolean;
}

export interface VerbSpec {
  readonly name: string;
  readonly aliases?: readonly string[];
  /** What other tools call it: not understood, but told from a slip. */
  readonly knownElsewhereAs?: readonly string[];
  /** What follows the name in the usage line. */
  readonly usage: string;
  readonly summary: string;
  /** What else there is to know, in a few sentences. */
  readonly description?: string;
  readonly options: readonly OptionSpec[];
  readonly examples: readonly string[];
  /** Whether it can be asked for all platforms. */
  readonly takesAllPlatforms?: boolean;
  /** Whether it can be asked for several. */
  readonly takesSeveralPlatforms?: boolean;
  /** How many words it takes, and which the first may be when only some are understood. */
  readonly words: {
    readonly min: number;
    readonly max: number;
    readonly areReferences?: boolean;
    readonly choices?: readonly string[];
  };
  /** Loaded only when the verb is run: `cat` must not pay for the registry client. */
  readonly load: () => Promise<{ readonly run: VerbRun }>;
}

export interface VerbContext {
  readonly words: readonly string[];
  /** What the command line alone says. */
  readonly options: Arguments;
  /** What it says together with the environment and the configuration files. */
  readonly settings: Settings;
  readonly configuration: Configuration;
  readonly output: Output;
  /** Where events go: the progress display. */
  readonly onEvent: EventSink;
  /** What the events so far add up to. */
  readonly tally: Tally;
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

/** Does the verb's work and prints its result. Failure is thrown. */
export type VerbRun = (context: VerbContext) => Promise<void>;
