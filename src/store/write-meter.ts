import { BpfcacheError } from "../core/errors.js";

/** A page of each tree, copied before it is changed, and the list of free ones. */
const changedPagesBytes = 96 * 1024;

/** What a transaction needs that only removes and counts: it is tried always, for it may make room. */
const removalBytes = changedPagesBytes + 16 * 1024;

/**
 * Counts what a transaction writes, and ends it before it runs out of room. lmdb-js 3.5.6 describes a write that fails
 * in 100 bytes of memory, which are too few for it (mdb.c, mdb_page_flush), and may end the process so: what can be known
 * to fail is not tried.
 */
export class WriteMeter {
  readonly #directory: string;
  /** Undefined when there is plenty. */
  #room: number | undefined;
  /** How much of it may be used. */
  #limit = Number.POSITIVE_INFINITY;
  #bytes = 0;
  /** The last transaction that there seemed to be room for, and was none. */
  #failed: { readonly needed: number; readonly room: number } | undefined;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** A transaction begins, which has room for so many bytes. */
  begin(room: number | undefined): void {
    this.#bytes = 0;
    this.#room = room;
    if (room === undefined || room > (this.#failed?.room ?? 0) + changedPagesBytes) this.#failed = undefined;
    const unlimited = Number.POSITIVE_INFINITY;
    const tried = Math.max(removalBytes, (this.#failed?.needed ?? unlimited) / 2);
    this.#limit = Math.min(room ?? unlimited, tried);
  }

  /**
   * The transaction has failed, for the disk had no room: some of what is free in the file lies apart, or is held by a
   * reader. Until there is more of it, nothing is tried that needs half as much, but what only removes.
   */
  fail(): void {
    if (this.#room !== undefined) this.#failed = { needed: this.#needed, room: this.#room };
  }

  /** Something is changed, and takes so many bytes. Throws CACHE_FULL. */
  add(bytes: number): void {
    this.#bytes += bytes;
    const needed = this.#needed;
    if (needed <= this.#limit) return;
    throw new BpfcacheError("CACHE_FULL", `no space left for the cache in ${this.#directory}`, {
      hint: `It needs ${needed} bytes, at most ${Math.floor(this.#limit)} can be used. Free some space; what is cached stays readable.`,
    });
  }

  get #needed(): number {
    return this.#bytes + changedPagesBytes;
  }
}
