import type { CacheEvent } from "../../core/events.js";
import { formatBytes, formatShare, printable } from "../output.js";
import { bar } from "./bar.js";
import { Rate } from "./rate.js";
import type { Style } from "./style.js";
import { cutEnd, cutMiddle, pad } from "./width.js";

// Columns: `1000.0/1023.9 KiB`, `1023.9 KiB/s`.
const amountWidth = 17;
const speedWidth = 12;
const widestBar = 20;
const narrowestBar = 5;

/** One image under way, as a line of the display: its name, what is happening, and how much has come. */
export class ImageRow {
  readonly reference: string;
  readonly #blobs = new Map<string, { readonly bytes: number; readonly total: number }>();
  readonly #rate = new Rate();
  #activity = "waiting for its turn";
  #retry: { readonly attempt: number; readonly at: number; readonly reason: string } | undefined;

  constructor(reference: string) {
    this.reference = reference;
  }

  note(event: CacheEvent, now: number): void {
    if (event.event === "retry") {
      this.#retry = { attempt: event.attempt, at: now + event.delayMs, reason: event.reason };
      return;
    }
    if (event.event === "resolving") this.#activity = "asking the registry";
    if (event.event === "resolved") this.#activity = "fetching the manifest";
    if (event.event === "waiting") this.#activity = "waiting for another process";
    if (event.event === "fetching") this.#blobs.set(event.digest, { bytes: 0, total: event.bytes });
    if (event.event === "bundling") this.#activity = "writing";
    if (event.event === "progress" || event.event === "bundling") this.#blobs.set(event.digest, event);
    if (event.event === "fetched") this.#blobs.set(event.digest, { bytes: event.bytes, total: event.bytes });
    if (event.event === "request") return;
    this.#retry = undefined;
    this.#rate.note(this.bytes, now);
  }

  /** What has come of it so far. */
  get bytes(): number {
    return this.#sum(({ bytes }) => bytes);
  }

  /** Of that, what belongs to blobs that are not complete. */
  get bytesUnderWay(): number {
    return this.#sum(({ bytes, total }) => (bytes < total ? bytes : 0));
  }

  line(nameWidth: number, width: number, now: number, style: Style): string {
    const name = pad(cutMiddle(printable(this.reference), nameWidth), nameWidth);
    const room = width - nameWidth - 4;
    if (this.#retry !== undefined)
      return `  ${name}  ${style("yellow", cutEnd(this.#describeRetry(now), room))}`;
    return `  ${name}  ${this.#describe(room, now, style)}`;
  }

  #describeRetry(now: number): string {
    const { attempt, at, reason } = this.#retry ?? { attempt: 0, at: 0, reason: "" };
    const seconds = Math.max(0, Math.ceil((at - now) / 1_000));
    return `retry ${attempt} ${seconds === 0 ? "now" : `in ${seconds} s`}: ${printable(reason)}`;
  }

  #describe(room: number, now: number, style: Style): string {
    const total = this.#sum((blob) => blob.total);
    if (total === 0) return style("dim", cutEnd(this.#activity, room));
    const { bytes } = this;
    if (bytes >= total) return style("dim", cutEnd(`checking ${formatBytes(total)}`, room));
    const amount = formatShare(bytes, total);
    const rate = this.#rate.perSecond(now);
    const speed = rate === undefined ? "" : `${formatBytes(Math.round(rate))}/s`;
    const text = `${pad(amount, amountWidth)}  ${speed}`.trimEnd();
    const barWidth = Math.min(widestBar, room - amountWidth - speedWidth - 4);
    if (barWidth >= narrowestBar) return `${style("cyan", bar(bytes / total, barWidth))}  ${text}`;
    return cutEnd(room < amountWidth + speedWidth ? amount : text, room);
  }

  #sum(of: (blob: { readonly bytes: number; readonly total: number }) => number): number {
    let total = 0;
    for (const blob of this.#blobs.values()) total += of(blob);
    return total;
  }
}
