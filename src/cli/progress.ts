import type { EventSink } from "../core/events.js";
import { LastingLines } from "./terminal/lasting-line.js";
import { LiveProgress } from "./terminal/live-progress.js";
import { plainStyle, styleFor } from "./terminal/style.js";
import { Tally } from "./terminal/tally.js";

export const progressStyles = ["auto", "tty", "plain", "json", "quiet"] as const;

export type ProgressStyle = (typeof progressStyles)[number];

/** Shows events on stderr while a verb runs. */
export interface Progress {
  readonly onEvent: EventSink;
  /** What the events so far add up to. */
  readonly tally: Tally;
  /** Says something to a person that is no event. */
  note(line: string): void;
  /** Clears what is not meant to stay. */
  end(): void;
}

export function startProgress(style: ProgressStyle, isVerbose: boolean): Progress {
  const shown = style === "auto" ? (canRedraw() ? "tty" : "plain") : style;
  if (shown === "tty") return new LiveProgress(process.stderr, styleFor(process.stderr), isVerbose);
  if (shown === "json") return new LineProgress((event) => JSON.stringify(event));
  if (shown === "quiet") return new LineProgress(() => undefined);
  const lines = new LastingLines(isVerbose, plainStyle);
  return new LineProgress((event) => lines.of(event), write);
}

function canRedraw(): boolean {
  return process.stderr.isTTY && process.env["TERM"] !== "dumb";
}

function write(line: string): void {
  process.stderr.write(`${line}\n`);
}

/** Some events as a line each, for logs and machines. */
class LineProgress implements Progress {
  readonly tally = new Tally();
  readonly note: (line: string) => void;
  readonly #toLine: (event: Parameters<EventSink>[0]) => string | undefined;

  constructor(
    toLine: (event: Parameters<EventSink>[0]) => string | undefined,
    note: (line: string) => void = () => {},
  ) {
    this.#toLine = toLine;
    this.note = note;
  }

  readonly onEvent: EventSink = (event) => {
    this.tally.count(event);
    const line = this.#toLine(event);
    if (line !== undefined) write(line);
  };

  end(): void {}
}
