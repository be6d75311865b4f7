import { BpfcacheError } from "../core/errors.js";

/** A page of each tree, copied before it is changed, and the list of free ones. */
const changedPagesBytes = 96 * 1024;

/**
 * Counts what a transaction writes, and ends it before it runs out of room. lmdb-js 3.5.6 describes a write that fails
 * in 100 bytes of memory, which are too few for it (mdb.c, mdb_page_flush), and may end the process so: what can be known
 * to fail is not tried.
 */
export class WriteMeter {
  readonly #directory: string;
  /** Undefined when there is plenty. */
  #room: number | undefined;
  #bytes = 0;

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** A transaction begins, which has room for so many bytes. */
  begin(room: number | undefined): void {
    this.#room = room;
    this.#bytes = 0;
  }

  /** Something is changed, and takes so many bytes. Throws CACHE_FULL. */
  add(bytes: number): void {
    this.#bytes += bytes;
    const needed = this.#bytes + changedPagesBytes;
    if (this.#room === undefined || needed <= this.#room) return;
    throw new BpfcacheError("CACHE_FULL", `no space left for the cache in ${this.#directory}`, {
      hint: `It needs ${needed} bytes, ${this.#room} are free. Free some space; what is cached stays readable.`,
    });
  }
}
