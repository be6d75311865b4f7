import { type ErrorCode, exitStatus } from "../core/errors.js";
import { type MissReason, missReasons } from "../core/events.js";
import type { Environment } from "./environment.js";
import { decodeCount, encodeCount } from "./values.js";

const plainNames = [
  "hits",
  "unchanged",
  "published",
  "requests",
  "fetchedBytes",
  "retries",
  "waits",
  "evictions",
  "evictedBytes",
  "verifyFailures.source",
  "verifyFailures.signature",
  "verifyFailures.cache",
  "reads",
  "servedRequests",
  "servedBytes",
] as const;

export type CounterName = (typeof plainNames)[number] | `misses.${MissReason}` | `failures.${ErrorCode}`;

export const counterNames: readonly CounterName[] = [
  ...plainNames,
  ...missReasons.map((reason) => `misses.${reason}` as const),
  ...(Object.keys(exitStatus) as ErrorCode[]).map((code) => `failures.${code}` as const),
];

/** A process that writes nothing else writes its counts this often at most, and when it closes the cache. */
const longestUnwrittenMs = 60_000;

/**
 * What has happened to this cache since it was made, by all processes that may write it. A count costs no write of its
 * own: it goes along with the next commit, whatever that is for, or is written when the cache is closed or after a
 * minute. A process that is killed loses what it had not written; one that only reads counts nothing.
 */
export class Counters {
  readonly #environment: Environment;
  readonly #unwritten = new Map<CounterName, number>();
  #timer: NodeJS.Timeout | undefined;

  constructor(environment: Environment) {
    this.#environment = environment;
    if (!environment.isReadOnly) environment.alongCommit = () => this.#write();
  }

  add(name: CounterName, count = 1): void {
    if (this.#environment.isReadOnly || count === 0) return;
    this.#unwritten.set(name, (this.#unwritten.get(name) ?? 0) + count);
    this.#timer ??= setTimeout(() => this.flush(), longestUnwrittenMs).unref();
  }

  /** All of them, with what this process has not written yet. */
  all(): Readonly<Record<CounterName, number>> {
    const counts = this.#environment.snapshot(() =>
      counterNames.map((name) => [name, this.#written(name) + (this.#unwritten.get(name) ?? 0)] as const),
    );
    return Object.fromEntries(counts) as Record<CounterName, number>;
  }

  /** Writes what is left. That it cannot, on a full disk for one, is nobody's failure: it stays for the next time. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#unwritten.size === 0) return;
    try {
      this.#environment.commit(() => {});
    } catch {
      // A count is worth no error.
    }
  }

  /** Inside a commit. Returns what to do when that has ended well: rolled back, the counts are still to be written. */
  #write(): () => void {
    const counts = [...this.#unwritten];
    for (const [name, count] of counts)
      this.#environment.tree("meta").put(keyOf(name), encodeCount(this.#written(name) + count));
    return () => {
      for (const [name] of counts) this.#unwritten.delete(name);
      clearTimeout(this.#timer);
      this.#timer = undefined;
    };
  }

  /** What is damaged begins anew. */
  #written(name: CounterName): number {
    const row = this.#environment.tree("meta").get(keyOf(name));
    return (row && decodeCount(row)) ?? 0;
  }
}

/** Rows of the tree meta. */
function keyOf(name: CounterName): Buffer {
  return Buffer.from(`count\0${name}`);
}
