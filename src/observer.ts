import { type CallContext, type CallName, publishEvent, traceCall } from "./core/channels.js";
import { type ErrorCode, toBpfcacheError } from "./core/errors.js";
import type { CacheEvent, EventSink } from "./core/events.js";
import type { Spans } from "./spans.js";
import type { CounterName, Counters } from "./store/counters.js";

/** Tells all who watch a cache what it does: diagnostics channels, its counters, OpenTelemetry. */
export class Observer {
  readonly #directory: string;
  readonly #counters: Counters;
  readonly #spans: Spans | undefined;

  constructor(directory: string, counters: Counters, spans: Spans | undefined) {
    this.#directory = directory;
    this.#counters = counters;
    this.#spans = spans;
  }

  call<T>(name: CallName, references: readonly string[], work: () => Promise<T>): Promise<T> {
    const context: CallContext = { call: name, directory: this.#directory, references };
    const counted = name === "pull" ? () => this.#countingFailure(work) : work;
    return traceCall(context, () => this.#spans?.run(context, counted) ?? counted());
  }

  /** Where events of this cache go, and to `others` that the caller named. */
  sink(others: readonly (EventSink | undefined)[], isOfFiles: boolean): EventSink {
    return (event) => {
      publishEvent(event);
      this.#spans?.note(event);
      for (const [name, count] of countsOf(event, isOfFiles)) this.#counters.add(name, count);
      for (const other of others) other?.(event);
    };
  }

  async #countingFailure<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const { code } = toBpfcacheError(error);
      for (const [name, count] of [[`failures.${code}` as const, 1] as const, ...failedChecks(code)])
        this.#counters.add(name, count);
      throw error;
    }
  }
}

type Count = readonly [CounterName, number];

/** What an event adds to the counters. Of what is read from files, not the bytes: those came from nowhere else. */
function countsOf(event: CacheEvent, isOfFiles: boolean): readonly Count[] {
  switch (event.event) {
    case "hit":
      return [["hits", 1]];
    case "miss":
      return [[`misses.${event.reason}`, 1]];
    case "resolved":
      if (isOfFiles) return [];
      return [
        ["unchanged", event.unchanged ? 1 : 0],
        ["fetchedBytes", event.bytes],
      ];
    case "fetched":
      return isOfFiles ? [] : [["fetchedBytes", event.bytes]];
    case "published":
      return [["published", 1]];
    case "request":
      return [["requests", 1]];
    case "retry":
      return [["retries", 1], ...failedChecks(event.code)];
    case "waiting":
      return [["waits", 1]];
    case "evicted":
      return [
        ["evictions", 1],
        ["evictedBytes", event.bytes],
      ];
    default:
      return [];
  }
}

/** A failure may be that something did not pass a check. */
function failedChecks(code: ErrorCode | undefined): readonly Count[] {
  if (code === "DIGEST_MISMATCH") return [["verifyFailures.source", 1]];
  return code === "UNTRUSTED" ? [["verifyFailures.signature", 1]] : [];
}
