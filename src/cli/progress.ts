import type { CacheEvent, EventSink } from "../core/events.js";
import { formatBytes, plural, printable } from "./output.js";

export const progressStyles = ["auto", "tty", "plain", "json", "quiet"] as const;

export type ProgressStyle = (typeof progressStyles)[number];

/** Shows events on stderr while a verb runs. */
export interface Progress {
  readonly onEvent: EventSink;
  /** Clears what is not meant to stay. */
  end(): void;
}

/** `total` is how many images the verb is about, once known. */
export function startProgress(style: ProgressStyle, isVerbose: boolean): Progress {
  const shown = style === "auto" ? (process.stderr.isTTY ? "tty" : "plain") : style;
  if (shown === "quiet") return { onEvent: () => {}, end: () => {} };
  if (shown === "json") return { onEvent: (event) => write(`${JSON.stringify(event)}\n`), end: () => {} };
  return shown === "tty" ? new LiveLine(isVerbose) : { onEvent: plainSink(isVerbose), end: () => {} };
}

function write(text: string): void {
  process.stderr.write(text);
}

function plainSink(isVerbose: boolean): EventSink {
  const lines = new Lines(isVerbose);
  return (event) => {
    const line = lines.of(event);
    if (line !== undefined) write(`${line}\n`);
  };
}

/** The lines of a run: an image that is taken in for many platforms has one. */
class Lines {
  readonly #isVerbose: boolean;
  readonly #cached = new Set<string>();

  constructor(isVerbose: boolean) {
    this.#isVerbose = isVerbose;
  }

  of(event: CacheEvent): string | undefined {
    if (event.event === "published") {
      if (this.#cached.has(event.reference)) return undefined;
      this.#cached.add(event.reference);
    }
    return lastingLine(event, this.#isVerbose);
  }
}

/** What deserves a line of its own that stays. */
function lastingLine(event: CacheEvent, isVerbose: boolean): string | undefined {
  switch (event.event) {
    case "published":
      return `cached ${event.reference}`;
    case "exported":
      return event.bytes === 0 ? `nothing new of ${event.reference}` : `exported ${event.reference}`;
    case "failed":
      return `failed ${printable(event.reference)}: ${printable(event.message)} [${event.code}]`;
    case "warning":
      return `warning: ${event.reference === undefined ? "" : `${event.reference}: `}${printable(event.message)}`;
    case "waiting":
      return `waiting for another process that fetches ${event.reference}`;
    case "evicted":
      return `evicted ${printable(event.reference)}: ${formatBytes(event.bytes)} freed`;
    case "recovered":
      return recoveredLines(event);
    case "retry":
      return `retry ${event.attempt} in ${event.delayMs} ms: ${printable(event.url)}: ${printable(event.reason)}`;
    case "request":
      if (!isVerbose) return undefined;
      return `${event.method} ${printable(event.url)} ${event.status} ${formatBytes(event.bytes)} ${event.milliseconds} ms`;
    default:
      return undefined;
  }
}

function recoveredLines({ fault, movedTo, references }: CacheEvent & { event: "recovered" }): string {
  return [
    `warning: ${printable(fault)}`,
    `  The cache begins anew; the damaged files are in ${printable(movedTo)}.`,
    references === 0
      ? "  None of its references could be read: prefetch what was cached again."
      : `  ${plural(references, "reference")} could be read and will be brought back by the next bpfcache prefetch.`,
  ].join("\n");
}

/** One line that is rewritten in place: how many images are done, how much has come, and what is being fetched. */
class LiveLine implements Progress {
  readonly #lines: Lines;
  readonly #fetching = new Map<string, { reference: string; bytes: number }>();
  #scrubbing: Extract<CacheEvent, { event: "scrubbing" }> | undefined;
  #done = 0;
  #failed = 0;
  #bytes = 0;
  /** What stands on the line now. */
  #drawn = "";
  #drawnAt = 0;

  constructor(isVerbose: boolean) {
    this.#lines = new Lines(isVerbose);
  }

  readonly onEvent: EventSink = (event) => {
    this.#count(event);
    const lasting = this.#lines.of(event);
    if (lasting !== undefined) {
      this.#erase();
      write(`${lasting}\n`);
    }
    // Thirty times a second is as often as anybody sees.
    const isFrequent = ["progress", "exporting", "scrubbing"].includes(event.event);
    if (isFrequent && Date.now() - this.#drawnAt < 33) return;
    this.#draw();
  };

  end(): void {
    this.#erase();
  }

  #count(event: CacheEvent): void {
    if (event.event === "fetching")
      this.#fetching.set(event.digest, { reference: event.reference, bytes: 0 });
    if (event.event === "progress") this.#fetching.set(event.digest, event);
    if (event.event === "fetched") {
      this.#fetching.delete(event.digest);
      this.#bytes += event.bytes;
    }
    if (event.event === "exporting") this.#bytes = event.bytes;
    if (event.event === "scrubbing") this.#scrubbing = event;
    if (event.event === "published" || event.event === "hit" || event.event === "exported") this.#done++;
    if (event.event === "resolved" && event.unchanged) this.#done++;
    if (event.event === "failed") this.#failed++;
  }

  #draw(): void {
    const under = [...this.#fetching.values()];
    const bytes = under.reduce((sum, blob) => sum + blob.bytes, this.#bytes);
    const failed = this.#failed === 0 ? "" : `, ${this.#failed} failed`;
    const current = under[0] === undefined ? "" : `  ${under[0].reference}`;
    const scrub = this.#scrubbing;
    const line =
      scrub === undefined
        ? `${this.#done} done${failed}, ${formatBytes(bytes)}${current}`
        : `${scrub.step}: ${scrub.checked} rows, ${formatBytes(scrub.bytes)}, ${scrub.damaged} damaged`;
    const shown = line.slice(0, Math.max(20, (process.stderr.columns || 80) - 1));
    if (shown === this.#drawn) return;
    this.#erase();
    write(shown);
    this.#drawn = shown;
    this.#drawnAt = Date.now();
  }

  #erase(): void {
    if (this.#drawn !== "") write("\r\u001b[2K");
    this.#drawn = "";
  }
}
