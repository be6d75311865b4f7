import type { CacheEvent } from "../../core/events.js";
import { formatBytes, plural, printable } from "../output.js";
import type { Style } from "./style.js";

/** The lines of a run that stay, in logs and on terminals alike: an image that is taken in for many platforms has one. */
export class LastingLines {
  readonly #isVerbose: boolean;
  readonly #style: Style;
  readonly #cached = new Set<string>();

  constructor(isVerbose: boolean, style: Style) {
    this.#isVerbose = isVerbose;
    this.#style = style;
  }

  of(event: CacheEvent): string | undefined {
    if (event.event === "published") {
      if (this.#cached.has(event.reference)) return undefined;
      this.#cached.add(event.reference);
    }
    return lastingLine(event, this.#isVerbose, this.#style);
  }
}

function lastingLine(event: CacheEvent, isVerbose: boolean, style: Style): string | undefined {
  switch (event.event) {
    case "published":
      return `${style("green", "cached")} ${event.reference}`;
    case "exported":
      if (event.bytes === 0) return `nothing new of ${event.reference}`;
      return `${style("green", "exported")} ${event.reference}`;
    case "failed":
      return `${style("red", "failed")} ${printable(event.reference)}: ${printable(event.message)} [${event.code}]`;
    case "warning":
      return `${style("yellow", "warning:")} ${event.reference === undefined ? "" : `${event.reference}: `}${printable(event.message)}`;
    case "waiting":
      return `waiting for another process that fetches ${event.reference}`;
    case "evicted":
      return `evicted ${printable(event.reference)}: ${formatBytes(event.bytes)} freed`;
    case "recovered":
      return recoveredLines(event, style);
    case "retry":
      return `${style("yellow", `retry ${event.attempt}`)} in ${event.delayMs} ms: ${printable(event.url)}: ${printable(event.reason)}`;
    case "request":
      if (!isVerbose) return undefined;
      return `${event.method} ${printable(event.url)} ${event.status} ${formatBytes(event.bytes)} ${event.milliseconds} ms`;
    default:
      return undefined;
  }
}

function recoveredLines(
  { fault, movedTo, references }: CacheEvent & { event: "recovered" },
  style: Style,
): string {
  return [
    `${style("yellow", "warning:")} ${printable(fault)}`,
    `  The cache begins anew; the damaged files are in ${printable(movedTo)}.`,
    references === 0
      ? "  None of its references could be read: prefetch what was cached again."
      : `  ${plural(references, "reference")} could be read and will be brought back by the next bpfcache prefetch.`,
  ].join("\n");
}
