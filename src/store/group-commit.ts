import { BpfcacheError } from "../core/errors.js";
import { monotonicMs } from "../core/monotonic.js";
import type { Environment } from "./environment.js";

/** The pages that a transaction has changed lie in memory until it ends; this bounds what is added to them. */
const maxBytes = 4 * 1024 * 1024;

/** Nobody waits longer than this for the others, unless the disk is so slow that it would be waited for most of the time. */
const patienceMs = 50;
const patiencePerCommit = 2;

interface Waiting {
  /** Runs inside the transaction; what it returns is called when that is on the disk. */
  readonly write: () => () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * Writes of several at work at the same time, in one transaction: the disk is waited for once and not for each.
 * They are committed when all that are at work wait for it, when there is much to write, or after a moment. Who waits makes
 * room for the next: how much is committed together does not depend on how many may be at work.
 */
export class GroupCommit {
  readonly #environment: Environment;
  readonly #maxAtWork: number;
  #waiting: Waiting[] = [];
  #bytes = 0;
  /** Those that wait too. */
  #joined = 0;
  readonly #queue: (() => void)[] = [];
  #timer: NodeJS.Timeout | undefined;
  #lastCommitMs = 0;

  constructor(environment: Environment, maxAtWork: number = Number.POSITIVE_INFINITY) {
    this.#environment = environment;
    this.#maxAtWork = maxAtWork;
  }

  /** Runs `work`, as soon as few enough are at work; others may wait for what it has to write. */
  async join<T>(work: () => Promise<T>): Promise<T> {
    await new Promise<void>((admit) => {
      this.#queue.push(admit);
      this.#admit();
    });
    try {
      return await work();
    } finally {
      this.#joined--;
      this.#admit();
      this.#commitIfAllWait();
    }
  }

  #admit(): void {
    while (this.#queue.length > 0 && this.#joined - this.#waiting.length < this.#maxAtWork) {
      this.#joined++;
      this.#queue.shift()?.();
    }
  }

  /**
   * Fulfilled when what `write` wrote is on the disk; `bytes` is about how much that is. A `write` that throws USAGE or
   * CACHE_BUSY must not have written anything before: it fails alone. Any other failure undoes the whole transaction,
   * and each write is then tried by itself.
   */
  run<T>(write: () => T, bytes: number): Promise<T> {
    return new Promise((resolve, reject) => {
      const writeFirst = (): (() => void) => {
        const value = write();
        return () => resolve(value);
      };
      this.#waiting.push({ write: writeFirst, reject });
      this.#bytes += bytes;
      const patience = Math.max(patienceMs, patiencePerCommit * this.#lastCommitMs);
      this.#timer ??= setTimeout(() => this.#commit(), patience);
      this.#admit();
      if (this.#bytes >= maxBytes) this.#commit();
      else this.#commitIfAllWait();
    });
  }

  #commitIfAllWait(): void {
    if (this.#waiting.length > 0 && this.#waiting.length >= this.#joined) this.#commit();
  }

  #commit(): void {
    const group = this.#waiting;
    this.#waiting = [];
    this.#bytes = 0;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const startedMs = monotonicMs();
    try {
      this.#commitAll(group);
    } catch {
      // What is too much for the disk together may be less alone, and a failure is then told to the right one.
      for (const waiting of group) {
        try {
          this.#commitAll([waiting]);
        } catch (error) {
          waiting.reject(error);
        }
      }
    }
    this.#lastCommitMs = monotonicMs() - startedMs;
  }

  #commitAll(group: readonly Waiting[]): void {
    const outcomes = this.#environment.commit(() => group.map(outcomeOf));
    for (const tell of outcomes) tell();
  }
}

function outcomeOf({ write, reject }: Waiting): () => void {
  try {
    return write();
  } catch (error) {
    if (!failedBeforeWriting(error)) throw error;
    return () => reject(error);
  }
}

/** What a publication is refused for before it writes; over the budget or damaged it turns out to be only afterwards. */
function failedBeforeWriting(error: unknown): boolean {
  return error instanceof BpfcacheError && (error.code === "USAGE" || error.code === "CACHE_BUSY");
}
