import type { RootDatabase } from "lmdb";
import { codeOf } from "../core/errors.js";
import { DamagedPages } from "./failure.js";
import { type FileIdentity, fileIdentity } from "./files.js";
import { type KeyRange, PageFile, readTreeNote, type TreeNote } from "./tree-pages.js";
import type { TreeName } from "./trees.js";

/**
 * The pages of trees as a snapshot has them. LMDB follows what they say of each other, and ends the process when one that a
 * walk comes to is none of the tree's (mdb.c, mdb_cursor_next), so they are looked at first. Only inside a snapshot: what a
 * transaction has changed is in no file yet. What is wrong is thrown as LMDB throws it, and so is what the disk says.
 */
export class LivePages {
  readonly #root: RootDatabase<Buffer, Buffer>;
  readonly #path: string;
  readonly #identity: FileIdentity | undefined;
  #file: PageFile | undefined;

  /** Of the data file at the path, if that has this identity still. */
  constructor(root: RootDatabase<Buffer, Buffer>, path: string, identity: FileIdentity | undefined) {
    this.#root = root;
    this.#path = path;
    this.#identity = identity;
  }

  /** Looks at those that a walk through the range touches, or through all of the tree. */
  requireSound(name: TreeName, range: KeyRange | undefined): void {
    this.#requireNoFault(name, (file, note) => file.faultOf(note, range));
  }

  /** Looks at all of a tree, and reads all its values. */
  examineAll(name: TreeName): void {
    this.#requireNoFault(name, (file, note) => file.faultOfAll(note));
  }

  close(): void {
    this.#file?.close();
    this.#file = undefined;
  }

  #requireNoFault(name: TreeName, faultIn: (file: PageFile, note: TreeNote) => string | undefined): void {
    const note = this.#root.getBinary(Buffer.from(`${name}\0`));
    this.#file ??= this.#open();
    if (note === undefined || this.#file === undefined) return;
    const fault = faultIn(this.#file, readTreeNote(note));
    if (fault !== undefined) throw new DamagedPages(`in the tree ${name}, ${fault}`);
  }

  /** Undefined when the file has just been replaced: then what LMDB reads from is in no directory. */
  #open(): PageFile | undefined {
    let file: PageFile;
    try {
      // lmdb-js documents the method and not what it returns.
      file = new PageFile(this.#path, (this.#root.getStats() as { pageSize: number }).pageSize);
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw error;
    }
    if (fileIdentity(file.identity) === this.#identity) return file;
    file.close();
    return undefined;
  }
}
