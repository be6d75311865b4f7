// @ts-check
// JavaScript, because the programs beside it use it too, which run from src and from dist alike.
import {
  accessSync,
  closeSync,
  constants,
  fstatSync,
  openSync,
  readSync,
  statSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";

/** @typedef {Pick<import("lmdb").RootDatabase<Buffer, Buffer>, "getStats" | "close">} Root */

/** Behind LMDB's magic number and its format's, in 64 bits (mdb.c, MDB_txbody). */
const offset = 8;

/**
 * One descriptor for each lock file: by closing another one this process would give up LMDB's locks on it.
 *
 * @type {Map<string, { file: number, users: number }>}
 */
const descriptors = new Map();

/**
 * The place in LMDB's lock file that says which transaction is the newest one, which readers and the next writer go on
 * from.
 *
 * Whoever opens the environment stores there what the meta pages said when it began to, even while others write
 * (mdb_env_open2, in each release of lmdb-js that was looked at, from 2.9.4 to 3.5.6): that takes a commit back which ends
 * between the two, and the next one writes over its pages. It was seen three times in 25,000 openings beside three
 * processes that wrote without a pause: twice one acknowledged transaction was gone, then the database was destroyed.
 * It may also store what the meta pages of another data file said, when the files are replaced between its opening the one
 * and the other. So whoever opens it corrects the number at once, and whoever writes first makes sure to have begun on the
 * newest state (see `Handle.transaction`).
 */
export class NewestTransaction {
  #path;
  #identity;
  #file;

  /** @param {string} path @param {string} identity @param {number} file */
  constructor(path, identity, file) {
    this.#path = path;
    this.#identity = identity;
    this.#file = file;
  }

  /** @param {string} path of a lock file that may be written */
  static at(path) {
    const file = descriptors.get(identityOf(path) ?? "")?.file ?? openSync(path, "r+");
    const { dev, ino } = fstatSync(file);
    const identity = `${dev}:${ino}`;
    const shared = descriptors.get(identity) ?? { file, users: 0 };
    shared.users++;
    descriptors.set(identity, shared);
    return new NewestTransaction(path, identity, shared.file);
  }

  /** Whether LMDB, which has opened the environment since, has opened this lock file. */
  get isInUse() {
    return identityOf(this.#path) === this.#identity;
  }

  /**
   * Has it say what the meta pages say, which are written first. Where it differs twice running, no commit is between the
   * two; by the time that it is stored one may have been: hence the loop.
   *
   * @param {Root} root
   */
  correct(root) {
    let before = "";
    for (;;) {
      const said = this.#read();
      const number = numberOf(root);
      if (said === number) return;
      const difference = `${said} ${number}`;
      if (difference === before) this.write(number);
      before = difference;
    }
  }

  /** @param {number} number */
  write(number) {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(number));
    writeSync(this.#file, bytes, 0, bytes.length, offset);
  }

  #read() {
    const bytes = Buffer.alloc(8);
    readSync(this.#file, bytes, 0, bytes.length, offset);
    return Number(bytes.readBigUInt64LE());
  }

  /** To be called when the environment has been closed. */
  close() {
    const shared = descriptors.get(this.#identity);
    if (shared === undefined || --shared.users > 0) return;
    descriptors.delete(this.#identity);
    closeSync(shared.file);
  }
}

/**
 * Has `open` open the environment in the directory, and corrects the number that this may have taken back.
 *
 * @template {Root} T
 * @param {string} directory @param {() => T} open
 * @returns {{ readonly root: T, readonly newest: NewestTransaction | undefined }} Without `newest` where the lock file
 * cannot be written: then LMDB has stored nothing either.
 */
export function openOnNewest(directory, open) {
  const path = join(directory, "lock.mdb");
  for (;;) {
    const newest = isWritable(path) ? NewestTransaction.at(path) : undefined;
    let root;
    try {
      root = open();
      if (newest?.isInUse ?? !isWritable(path)) {
        newest?.correct(root);
        return { root, newest };
      }
    } catch (error) {
      newest?.close();
      throw error;
    }
    void root.close();
    newest?.close();
  }
}

/** What the newest meta page says: this is read where it is. @param {Root} root */
export function numberOf(root) {
  return /** @type {{ lastTxnId: number }} */ (root.getStats()).lastTxnId;
}

/** @param {string} path */
function isWritable(path) {
  try {
    accessSync(path, constants.R_OK | constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** @param {string} path */
function identityOf(path) {
  const found = statSync(path, { throwIfNoEntry: false });
  return found && `${found.dev}:${found.ino}`;
}
