import type { CacheEvent } from "../../core/events.js";

/** What the events of a command add up to. */
export class Tally {
  readonly #startedAt: number;
  readonly #done = new Set<string>();
  readonly #failed = new Set<string>();
  #images = 0;
  #fetched = 0;
  #retries = 0;

  constructor(now: number = Date.now()) {
    this.#startedAt = now;
  }

  count(event: CacheEvent): void {
    if (event.event === "batch") this.#images += event.images;
    if (event.event === "fetched") this.#fetched += event.bytes;
    if (event.event === "exporting") this.#fetched = event.bytes;
    if (event.event === "retry") this.#retries++;
    if (event.event === "failed") this.#failed.add(event.reference);
    const done = doneBy(event);
    if (done !== undefined) this.#done.add(done);
  }

  /** How many there are to be, once that is known; 0 for a command that is not about images. */
  get images(): number {
    return Math.max(this.#images, this.#done.size + this.#failed.size);
  }

  get done(): number {
    return this.#done.size;
  }

  get failed(): number {
    return this.#failed.size;
  }

  /** What has come completely; what is under way is not in it. */
  get bytes(): number {
    return this.#fetched;
  }

  get retries(): number {
    return this.#retries;
  }

  elapsedMs(now: number = Date.now()): number {
    return now - this.#startedAt;
  }
}

/** The image that it is the last event of, if it is of any: however it ended. */
export function endedBy(event: CacheEvent): string | undefined {
  return event.event === "failed" ? event.reference : doneBy(event);
}

function doneBy(event: CacheEvent): string | undefined {
  if (event.event === "resolved") return event.unchanged ? event.reference : undefined;
  if (event.event === "bundling") return event.bytes >= event.total ? event.reference : undefined;
  const isDone = event.event === "published" || event.event === "hit" || event.event === "exported";
  return isDone ? event.reference : undefined;
}
