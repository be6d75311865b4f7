import type { EventSink } from "../core/events.js";
import type { Arguments } from "./arguments.js";
import type { Output } from "./output.js";
import type { Settings } from "./settings.js";

/** An option of the command line, for parsing and for help alike. */
export interface OptionSpec {
  readonly name: string;
  readonly short?: string;
  /** What stands for the value in help; a flag has none. */
  readonly value?: string;
  readonly multiple?: boolean;
  readonly summary: string;
}

export interface VerbSpec {
  readonly name: string;
  readonly aliases?: readonly string[];
  /** What follows the name in the usage line. */
  readonly usage: string;
  readonly summary: string;
  readonly options: readonly OptionSpec[];
  readonly examples: readonly string[];
  /** Whether it can be asked for all platforms. */
  readonly takesAllPlatforms?: boolean;
  /** Whether it can be asked for several. */
  readonly takesSeveralPlatforms?: boolean;
  /** How many words it takes. */
  readonly words: { readonly min: number; readonly max: number; readonly areReferences?: boolean };
  /** Loaded only when the verb is run: `cat` must not pay for the registry client. */
  readonly load: () => Promise<{ readonly run: VerbRun }>;
}

export interface VerbContext {
  readonly words: readonly string[];
  readonly options: Arguments;
  readonly settings: Settings;
  readonly output: Output;
  /** Where events go: the progress display. */
  readonly onEvent: EventSink;
  /** Aborted by the first SIGINT or SIGTERM. */
  readonly signal: AbortSignal;
}

/** Does the verb's work and prints its result. Failure is thrown. */
export type VerbRun = (context: VerbContext) => Promise<void>;
