import type { Database } from "lmdb";
import type { KeyRange } from "./tree-pages.js";
import type { WriteMeter } from "./write-meter.js";

/** The fixed trees (named sub-databases) of a cache; DESIGN.md, "The trees", says what is in each. */
export const treeNames = [
  "meta",
  "refs",
  "roots",
  "manifests",
  "configs",
  "layers",
  "images",
  "objects",
  "objectInfo",
  "byProgram",
  "byMap",
  "heldBy",
  "referrers",
  "verdicts",
  "usage",
  "hosts",
  "leases",
  "quarantine",
  "pending",
  "programs",
  "trees",
] as const;

export type TreeName = (typeof treeNames)[number];

/**
 * One tree: ordered binary keys and values. Reads see the environment's current snapshot, or inside `commit` what
 * has been written so far; `put` and `remove` may only be called inside `commit`.
 */
export class Tree {
  readonly #database: Database<Buffer, Buffer>;
  readonly #meter: WriteMeter;
  readonly #requireSound: (range: KeyRange | undefined) => void;

  /** @internal So that the package's types do not need lmdb's, which strict programs refuse. */
  constructor(
    database: Database<Buffer, Buffer>,
    meter: WriteMeter,
    requireSound: (range: KeyRange | undefined) => void,
  ) {
    this.#database = database;
    this.#meter = meter;
    this.#requireSound = requireSound;
  }

  /** A copy of the value. */
  get(key: Buffer): Buffer | undefined {
    return this.#database.get(key);
  }

  /**
   * The value without a copy. It lies in memory that the next read of any tree overwrites, so it must not leave the
   * caller's stack frame before then.
   */
  view(key: Buffer): Buffer | undefined {
    const shared = this.#database.getBinaryFast(key);
    // lmdb-js reuses one large buffer and only sets `length`: without the cut, byteLength and .buffer read too much.
    return shared?.subarray(0, shared.length);
  }

  /** Whether this is the value: the cheapest way to see that nothing has changed. */
  holds(key: Buffer, value: Buffer): boolean {
    const shared = this.#database.getBinaryFast(key);
    return shared?.length === value.length && value.compare(shared, 0, value.length) === 0;
  }

  has(key: Buffer): boolean {
    return this.#database.getBinaryFast(key) !== undefined;
  }

  /** The same without reading the value, which LMDB's binding copies: for values that may be large. */
  finds(key: Buffer): boolean {
    for (const found of this.#database.getKeys({ start: key, limit: 1 })) return found.equals(key);
    return false;
  }

  put(key: Buffer, value: Buffer): void {
    this.#meter.add(key.length + value.length);
    this.#database.putSync(key, value);
  }

  remove(key: Buffer): void {
    if (this.#database.removeSync(key)) this.#meter.add(0);
  }

  /** All keys that begin with `prefix`, in order, as an array: safe to write while walking it. */
  keys(prefix: Buffer = empty): Buffer[] {
    return [...this.#database.getKeys(this.#soundRange(prefix))];
  }

  /** At most `limit` of the keys that begin with `prefix`, those after `position` when there is one. */
  keysAfter(prefix: Buffer, position: Buffer | undefined, limit: number): Buffer[] {
    // The least key that is greater than another is that one with a zero byte behind it.
    const start = position === undefined ? prefix : Buffer.concat([position, Buffer.of(0)]);
    return [...this.#database.getKeys({ start, ...endOf(prefix), limit })];
  }

  entries(prefix: Buffer = empty): { key: Buffer; value: Buffer }[] {
    return [...this.#database.getRange(this.#soundRange(prefix))];
  }

  #soundRange(prefix: Buffer): KeyRange {
    const range = { start: prefix, ...endOf(prefix) };
    this.#requireSound(prefix.length === 0 ? undefined : range);
    return range;
  }

  hasPrefix(prefix: Buffer): boolean {
    for (const _ of this.#database.getKeys({ start: prefix, ...endOf(prefix), limit: 1 })) return true;
    return false;
  }

  /** The first of the keys that come after all those with the prefix. */
  firstKeyBehind(prefix: Buffer): Buffer | undefined {
    const { end } = endOf(prefix);
    if (end === undefined) return undefined;
    for (const key of this.#database.getKeys({ start: end, limit: 1 })) return key;
    return undefined;
  }

  get size(): number {
    return this.#database.getCount();
  }

  /** How many pages of the file it takes. */
  get pages(): number {
    // lmdb-js documents the method and not what it returns.
    const { treeBranchPageCount, treeLeafPageCount, overflowPages } = this.#database.getStats() as {
      treeBranchPageCount: number;
      treeLeafPageCount: number;
      overflowPages: number;
    };
    return treeBranchPageCount + treeLeafPageCount + overflowPages;
  }
}

const empty = Buffer.alloc(0);

/** The first key after every key with the prefix: the prefix with its last byte below 255 raised by one. */
function endOf(prefix: Buffer): { end?: Buffer } {
  let length = prefix.length;
  while (length > 0 && prefix[length - 1] === 0xff) length--;
  if (length === 0) return {};
  const end = Buffer.from(prefix.subarray(0, length));
  end[length - 1] = (end[length - 1] ?? 0) + 1;
  return { end };
}
