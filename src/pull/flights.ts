import { setMaxListeners } from "node:events";
import { BpfcacheError } from "../core/errors.js";

interface Flight<T> {
  readonly controller: AbortController;
  readonly promise: Promise<T>;
  isOver: boolean;
  passengers: number;
}

/**
 * Work shared by all callers in this process that want the same thing at the same time. Whoever boards first starts
 * it; it is aborted only when the last one has left, so a caller that gives up never takes the others' download
 * with it. A result is kept until all have left: somebody who comes between a download and its publication does
 * not start another.
 */
export class Flights<T> {
  readonly #flights = new Map<string, Flight<T>>();

  /** Joins the flight for `key`, starting it if there is none. Call `leave` when the result is no longer needed. */
  board(key: string, start: (signal: AbortSignal) => Promise<T>): Passenger<T> {
    let flight = this.#flights.get(key);
    if (flight === undefined) {
      const controller = new AbortController();
      setMaxListeners(0, controller.signal); // One for each of its blobs, however many an image has.
      flight = { controller, promise: start(controller.signal), isOver: false, passengers: 0 };
      this.#flights.set(key, flight);
      const started = flight;
      started.promise.then(
        () => {
          started.isOver = true;
        },
        // A failure is not kept: the next caller tries again.
        () => this.#forget(key, started),
      );
    }
    flight.passengers++;
    return new Passenger(flight.promise, this.#leaveOnce(key, flight));
  }

  #leaveOnce(key: string, flight: Flight<T>): () => void {
    let hasLeft = false;
    return () => {
      if (hasLeft) return;
      hasLeft = true;
      flight.passengers--;
      if (flight.passengers > 0) return;
      if (!flight.isOver) flight.controller.abort();
      this.#forget(key, flight);
    };
  }

  #forget(key: string, flight: Flight<T>): void {
    if (this.#flights.get(key) === flight) this.#flights.delete(key);
  }
}

export class Passenger<T> {
  constructor(
    readonly result: Promise<T>,
    readonly leave: () => void,
  ) {}

  /** The result, or INTERRUPTED as soon as this caller's own signal is aborted. */
  async arrival(signal: AbortSignal | undefined): Promise<T> {
    if (signal === undefined) return this.result;
    let onAbort = (): void => {};
    const aborted = new Promise<never>((_, reject) => {
      onAbort = () => reject(new BpfcacheError("INTERRUPTED", "interrupted", { cause: signal.reason }));
      if (signal.aborted) onAbort();
      else signal.addEventListener("abort", onAbort, { once: true });
    });
    try {
      return await Promise.race([this.result, aborted]);
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }
}
