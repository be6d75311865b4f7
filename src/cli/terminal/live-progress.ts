import type { CacheEvent, EventSink } from "../../core/events.js";
import { formatBytes, plural, printable } from "../output.js";
import type { Progress } from "../progress.js";
import { ImageRow } from "./image-row.js";
import { LastingLines } from "./lasting-line.js";
import { Rate } from "./rate.js";
import { Screen, type TerminalStream } from "./screen.js";
import type { Style } from "./style.js";
import { endedBy, Tally } from "./tally.js";
import { cutEnd, displayWidth } from "./width.js";

/** As often as anybody sees; what is over sooner is never drawn. */
const frameMs = 100;
const mostRows = 12;
/** What an image that has no line yet gets one for. */
const beginnings: ReadonlySet<string> = new Set(["resolving", "fetching", "waiting", "retry", "bundling"]);
const spinner = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];

/** A line for each image under way and one for all of them, drawn in place on a terminal. */
export class LiveProgress implements Progress {
  readonly tally = new Tally();
  readonly #screen: Screen;
  readonly #style: Style;
  readonly #isVerbose: boolean;
  readonly #lines: LastingLines;
  readonly #rows = new Map<string, ImageRow>();
  readonly #rate = new Rate();
  #step: Extract<CacheEvent, { event: "scrubbing" | "exporting" }> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #frame = 0;

  constructor(stream: TerminalStream, style: Style, isVerbose: boolean) {
    this.#screen = new Screen(stream);
    this.#style = style;
    this.#isVerbose = isVerbose;
    this.#lines = new LastingLines(isVerbose, style);
    // Even a second Ctrl-C leaves a clean screen.
    process.once("exit", () => this.end());
  }

  readonly onEvent: EventSink = (event) => {
    const now = Date.now();
    this.tally.count(event);
    this.#follow(event, now);
    // Of a retry the image's own line tells.
    const isInRow = event.event === "retry" && event.reference !== undefined && !this.#isVerbose;
    const lasting = isInRow ? undefined : this.#lines.of(event);
    if (lasting !== undefined) this.#screen.print(lasting);
    this.#timer ??= setInterval(() => this.#draw(), frameMs).unref();
  };

  note(line: string): void {
    this.#screen.print(line);
  }

  end(): void {
    clearInterval(this.#timer);
    this.#screen.erase();
  }

  #follow(event: CacheEvent, now: number): void {
    if (event.event === "scrubbing" || event.event === "exporting") this.#step = event;
    if (!("reference" in event) || event.reference === undefined) return;
    const ended = endedBy(event);
    const isBegun = this.#rows.has(event.reference) || beginnings.has(event.event);
    if (ended !== undefined) this.#rows.delete(ended);
    else if (isBegun) this.#rowOf(event.reference).note(event, now);
  }

  #rowOf(reference: string): ImageRow {
    const row = this.#rows.get(reference) ?? new ImageRow(reference);
    this.#rows.set(reference, row);
    return row;
  }

  #draw(): void {
    const now = Date.now();
    const { width, height } = this.#screen;
    const rows = [...this.#rows.values()];
    const shown = rows.slice(0, Math.min(mostRows, height - 3));
    const longest = Math.max(0, ...shown.map(({ reference }) => displayWidth(printable(reference))));
    const nameWidth = Math.min(longest, Math.floor(width * 0.5));
    const more = rows.length - shown.length;
    this.#frame++;
    this.#screen.draw([
      ...shown.map((row) => row.line(nameWidth, width, now, this.#style)),
      ...(more > 0 ? [this.#style("dim", cutEnd(`  … and ${more} more`, width))] : []),
      cutEnd(`${spinner[this.#frame % spinner.length]} ${this.#total(rows, now)}`, width),
    ]);
  }

  /** The line of all: how many images, how much has come, how fast, for how long. */
  #total(rows: readonly ImageRow[], now: number): string {
    const { images, done, failed, retries } = this.tally;
    const counted = this.#countedBytes(rows);
    this.#rate.note(counted, now);
    const rate = this.#rate.perSecond(now);
    return [
      this.#describeStep(),
      images > 0 ? `${done} of ${plural(images, "image")}` : "",
      failed > 0 ? `${failed} failed` : "",
      retries > 0 ? plural(retries, "retry", "retries") : "",
      formatBytes(counted),
      rate === undefined ? "" : `${formatBytes(Math.round(rate))}/s`,
      formatClock(this.tally.elapsedMs(now)),
    ]
      .filter(Boolean)
      .join("  ");
  }

  #countedBytes(rows: readonly ImageRow[]): number {
    if (this.#step !== undefined) return this.#step.bytes;
    return rows.reduce((sum, row) => sum + row.bytesUnderWay, this.tally.bytes);
  }

  #describeStep(): string {
    const step = this.#step;
    if (step?.event !== "scrubbing") return ""; // What is written, each image's own line says.
    return `${step.step}: ${plural(step.checked, "row")}, ${step.damaged} damaged`;
  }
}

function formatClock(ms: number): string {
  const seconds = Math.floor(ms / 1_000);
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
}
