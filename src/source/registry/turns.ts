import type { Clock } from "./clock.js";
import { untilAborted } from "./single-flight.js";

/** How long a host that has refused for load is asked one thing at a time. */
const cautiousMs = 10_000;

/**
 * A host that says it has too much to do (429) gets one request at a time for a while. Whoever was refused keeps its
 * turn until it has its answer, so what it was told to wait for is not spent by somebody else's request, and a limit
 * on a share of the requests refuses nothing twice.
 */
export class Turns {
  readonly #clock: Clock;
  readonly #cautiousUntil = new Map<string, number>();
  readonly #last = new Map<string, Promise<void>>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The host has refused something for load. */
  refused(host: string): void {
    this.#cautiousUntil.set(host, this.#clock.now() + cautiousMs);
  }

  isCautious(host: string): boolean {
    return (this.#cautiousUntil.get(host) ?? 0) > this.#clock.now();
  }

  /** Waits for a turn, and resolves to what ends it. Throws INTERRUPTED. */
  async take(host: string, signal: AbortSignal | undefined): Promise<() => void> {
    const before = this.#last.get(host) ?? Promise.resolve();
    let end = (): void => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#last.set(
      host,
      Promise.all([before, over]).then(() => {}),
    );
    try {
      await untilAborted(before, signal);
    } catch (error) {
      end();
      throw error;
    }
    return end;
  }
}
