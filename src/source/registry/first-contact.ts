import { untilAborted } from "./single-flight.js";

/**
 * Lets one request go ahead to a registry nobody has heard from yet, and holds the others back until its first answer
 * is there: else each of a batch's parallel pulls would get a 401 of its own. However that first request ends, the
 * others go on, so a dead host costs no more than its own time.
 */
export class FirstContact {
  readonly #meetings = new Map<string, Promise<void>>();

  /** Resolves to what the caller must call once it has an answer or none. */
  async enter(host: string, signal: AbortSignal | undefined): Promise<() => void> {
    const meeting = this.#meetings.get(host);
    if (meeting !== undefined) {
      await untilAborted(meeting, signal);
      return () => undefined;
    }
    const { promise, resolve } = withResolver();
    this.#meetings.set(host, promise);
    return resolve;
  }
}

function withResolver(): { promise: Promise<void>; resolve: () => void } {
  let resolve = () => {};
  const promise = new Promise<void>((settle) => {
    resolve = settle;
  });
  return { promise, resolve };
}
