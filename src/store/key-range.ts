import { BpfcacheError } from "../core/errors.js";
import { DamagedRow } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import type { TreeName } from "./trees.js";
import { decodeBytes, encodeBytes } from "./values.js";

/** LMDB's own bound with pages of 4 KiB. */
const maxKeyBytes = 1_978;

export interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
}

/**
 * All rows of one LMDB tree whose keys begin with a prefix, as if they were a tree of their own: nothing is opened for
 * it, there may be any number, and it is gone with its last row. Values have a checksum, as records do. Reads see one
 * state within a `snapshot` of the environment, and several writes are one within a `commit`.
 */
export class KeyRange {
  readonly environment: Environment;
  readonly #tree: TreeName;
  readonly #prefix: Buffer;

  constructor(environment: Environment, tree: TreeName, prefix: Buffer) {
    this.environment = environment;
    this.#tree = tree;
    this.#prefix = prefix;
  }

  /** The range within this one whose keys begin with `prefix`. */
  within(prefix: Buffer): KeyRange {
    return new KeyRange(this.environment, this.#tree, Buffer.concat([this.#prefix, prefix]));
  }

  /** A copy. Throws CACHE_CORRUPT for a damaged value. */
  get(key: Buffer): Buffer | undefined {
    const full = this.#keyOf(key);
    const value = this.environment.snapshot(() => this.environment.tree(this.#tree).get(full));
    return value && this.#decode(full, value);
  }

  /** Throws USAGE for a key that is too long. */
  put(key: Buffer, value: Uint8Array): void {
    const full = this.#keyOf(key);
    this.environment.commit(() => this.environment.tree(this.#tree).put(full, encodeBytes(value)));
  }

  /** Whether it was there. */
  remove(key: Buffer): boolean {
    const full = this.#keyOf(key);
    return this.environment.commit(() => {
      const tree = this.environment.tree(this.#tree);
      const isThere = tree.finds(full);
      if (isThere) tree.remove(full);
      return isThere;
    });
  }

  /** In the order of the keys' bytes, without the prefix of the range. Throws CACHE_CORRUPT for a damaged value. */
  entries(): Entry[] {
    return this.environment.snapshot(() =>
      this.environment
        .tree(this.#tree)
        .entries(this.#prefix)
        .map(({ key, value }) => ({
          key: Buffer.from(key.subarray(this.#prefix.length)),
          value: this.#decode(key, value),
        })),
    );
  }

  keys(): Buffer[] {
    return this.environment.snapshot(() =>
      this.environment
        .tree(this.#tree)
        .keys(this.#prefix)
        .map((key) => key.subarray(this.#prefix.length)),
    );
  }

  get isEmpty(): boolean {
    return this.environment.snapshot(() => !this.environment.tree(this.#tree).hasPrefix(this.#prefix));
  }

  /** Removes all of it. */
  clear(): void {
    this.environment.commit(() => {
      const tree = this.environment.tree(this.#tree);
      for (const key of tree.keys(this.#prefix)) tree.remove(key);
    });
  }

  /** Moves every row into another range of the same environment, as they are: one transaction, or part of one. */
  moveTo(other: KeyRange): void {
    this.environment.commit(() => {
      const from = this.environment.tree(this.#tree);
      const to = this.environment.tree(other.#tree);
      for (const { key, value } of from.entries(this.#prefix)) {
        to.put(Buffer.concat([other.#prefix, key.subarray(this.#prefix.length)]), value);
        from.remove(key);
      }
    });
  }

  #keyOf(key: Buffer): Buffer {
    const full = Buffer.concat([this.#prefix, key]);
    if (full.length <= maxKeyBytes) return full;
    const longest = maxKeyBytes - this.#prefix.length;
    throw new BpfcacheError(
      "USAGE",
      `a key of ${key.length} bytes is too long; ${longest} are the most here`,
    );
  }

  #decode(key: Buffer, value: Buffer): Buffer {
    try {
      return decodeBytes(value);
    } catch {
      throw new DamagedRow(this.#tree, Buffer.from(key), `a value in the tree ${this.#tree} is damaged`);
    }
  }
}
