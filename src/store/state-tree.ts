import { BpfcacheError } from "../core/errors.js";
import type { Entry, KeyRange } from "./key-range.js";

/** Text stands for its bytes in UTF-8. */
export type TreeBytes = string | Uint8Array;

/** A change of a batch. */
export type TreeChange =
  | { readonly insert: TreeBytes; readonly value: TreeBytes }
  | { readonly remove: TreeBytes };

/** Something that has been committed in this process; without a value the key was removed. */
export interface TreeEvent {
  readonly tree: string;
  readonly key: Buffer;
  readonly value: Buffer | undefined;
}

/** What a tree needs of the store that it is in. */
export interface TreeHost {
  /** Opened when it is first asked for. */
  range(name: string): KeyRange;
  /** Runs `write` as one transaction; what it changes is told when it has been committed. */
  write<T>(write: (changed: (event: TreeEvent) => void) => T): T;
  watch(tree: string, prefix: Buffer, listener: (event: TreeEvent) => void): () => void;
}

/**
 * An ordered map from bytes to bytes, of any number of which each has a name. Every call is durable on return and
 * visible to every process; several calls, also of several trees, are one inside `StateStore.transaction`. Keys are at
 * most 1,700 bytes (USAGE). Values are checked as they are read: CACHE_CORRUPT.
 */
export class StateTree {
  readonly name: string;
  readonly #host: TreeHost;

  /** @internal Use `StateStore.tree`. */
  constructor(name: string, host: TreeHost) {
    this.name = name;
    this.#host = host;
  }

  /** A copy. */
  get(key: TreeBytes): Buffer | undefined {
    return this.#range.get(keyBytes(key));
  }

  /** Returns the value that was there before. */
  insert(key: TreeBytes, value: TreeBytes): Buffer | undefined {
    const [at, next] = [keyBytes(key), bytesOf(value)];
    return this.#host.write((changed) => {
      const range = this.#range;
      const former = range.get(at);
      range.put(at, next);
      changed({ tree: this.name, key: at, value: next });
      return former;
    });
  }

  /** Returns the value that was there. */
  remove(key: TreeBytes): Buffer | undefined {
    const at = keyBytes(key);
    return this.#host.write((changed) => {
      const range = this.#range;
      const former = range.get(at);
      if (range.remove(at)) changed({ tree: this.name, key: at, value: undefined });
      return former;
    });
  }

  /** All whose keys begin with `prefix`, in the order of their bytes, of one moment. */
  scanPrefix(prefix: TreeBytes = ""): readonly Entry[] {
    const start = bytesOf(prefix);
    return this.#range
      .within(start)
      .entries()
      .map(({ key, value }) => ({ key: Buffer.concat([start, key]), value }));
  }

  /**
   * Puts `replacement` there if `expected` is what is there, undefined standing for nothing in both; else changes
   * nothing and returns false. No other process comes between.
   */
  compareAndSwap(
    key: TreeBytes,
    expected: TreeBytes | undefined,
    replacement: TreeBytes | undefined,
  ): boolean {
    const at = keyBytes(key);
    return this.#host.write(() => {
      const current = this.#range.get(at);
      const isExpected =
        expected === undefined
          ? current === undefined
          : current !== undefined && bytesOf(expected).equals(current);
      if (!isExpected) return false;
      if (replacement === undefined) this.remove(at);
      else this.insert(at, replacement);
      return true;
    });
  }

  /** All of the changes, in their order, or none of them. */
  batch(changes: Iterable<TreeChange>): void {
    this.#host.write(() => {
      for (const change of changes) {
        if ("remove" in change) this.remove(change.remove);
        else this.insert(change.insert, change.value);
      }
    });
  }

  /** Removes everything in it. */
  clear(): void {
    this.#host.write(() => {
      for (const key of this.#range.keys()) this.remove(key);
    });
  }

  /**
   * Calls `listener` with every change of keys that begin with `prefix`, once it is committed, whoever in this process
   * made it; changes of other processes are not seen. Returns what ends that. It must not throw.
   */
  watch(prefix: TreeBytes, listener: (event: TreeEvent) => void): () => void {
    return this.#host.watch(this.name, bytesOf(prefix), listener);
  }

  get #range(): KeyRange {
    return this.#host.range(this.name);
  }
}

/** Leaves room for the longest name of a tree. */
const maxKeyBytes = 1_700;

function keyBytes(key: TreeBytes): Buffer {
  const bytes = bytesOf(key);
  if (bytes.length <= maxKeyBytes) return bytes;
  throw new BpfcacheError(
    "USAGE",
    `a key of ${bytes.length} bytes is too long; ${maxKeyBytes} are the most in a tree`,
  );
}

/** A copy: what the caller does with its own bytes later changes nothing here. */
function bytesOf(value: TreeBytes): Buffer {
  if (typeof value !== "string") return Buffer.from(value);
  const bytes = Buffer.from(value);
  // A lone surrogate has no bytes in UTF-8: two such texts would become one key.
  if (bytes.toString() === value) return bytes;
  throw new BpfcacheError("USAGE", `${JSON.stringify(value)} is not well-formed text`);
}
