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

/**
 * What `openAsClass` returns, of which lmdb's types tell no constructor. Its `open` calls it so.
 *
 * @typedef {new (name: null, options: object) => import("lmdb").RootDatabase<Buffer, Buffer>} RootClass
 */

/** Where the number of the newest transaction is, in 64 bits (mdb.c, MDB_txbody). */
const newestOffset = 8;

/** Of a mutex, in the C library of GNU on 64-bit hosts (pthreadtypes-arch.h, struct_mutex.h). */
const mutexBytes = process.arch === "arm64" ? 48 : 40;
const kindOffset = 16;
/** What pthread_mutex_destroy makes of it, and what it is before: robust, and shared by processes. */
const destroyedKind = -1;
const robustSharedKind = 16 | 128;

/** Where the mutexes are: of the table of readers, of who writes, and of who flushes (mdb.c, MDB_txninfo). */
const cacheLineBytes = 64;
const readersMutex = 24;
const writerMutex = Math.ceil((readersMutex + mutexBytes) / cacheLineBytes) * cacheLineBytes;
const mutexes = [readersMutex, writerMutex, writerMutex + mutexBytes];

/**
 * One descriptor for each lock file: by closing another one this process would give up LMDB's locks on it.
 *
 * @type {Map<string, { file: number, users: number }>}
 */
const descriptors = new Map();

/**
 * LMDB's lock file, in which two things are put right that LMDB itself gets wrong:
 *
 * It says which transaction is the newest one, which readers and the next writer go on from. Whoever opens the environment
 * stores there what the meta pages said when it began to, even while others write (mdb_env_open2, in each release of lmdb-js
 * that was looked at, from 2.9.4 to 3.5.6): that takes a commit back which ends between the two, and the next one writes over
 * its pages. It was seen three times in 25,000 openings beside three processes that wrote without a pause: twice one
 * acknowledged transaction was gone, then the database was destroyed. It may also store what the meta pages of another data
 * file said, when the files are replaced between its opening the one and the other. So whoever opens it corrects the number at
 * once, and whoever writes first makes sure to have begun on the newest state (see `Handle.transaction`).
 *
 * And it has the mutexes. Whoever closes the environment as the last one destroys them (mdb_env_close_active), also when the
 * next one, which opens it, waits for just that and will take them for made: each lock of one is EINVAL then, for as long as
 * anybody has it open. Of six processes that opened and closed it without a pause, one was left after 20 seconds. A mutex that
 * nobody holds is destroyed by a mark alone, so it is made again by taking the mark away.
 */
export class LockFile {
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
    return new LockFile(path, identity, shared.file);
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
    writeSync(this.#file, bytes, 0, bytes.length, newestOffset);
  }

  /** Makes the mutexes again that were destroyed. Whoever has the environment open may: all write the same. */
  mendMutexes() {
    const bytes = Buffer.alloc(4);
    for (const mutex of mutexes) {
      readSync(this.#file, bytes, 0, bytes.length, mutex + kindOffset);
      if (bytes.readInt32LE() !== destroyedKind) continue;
      bytes.writeInt32LE(robustSharedKind);
      writeSync(this.#file, bytes, 0, bytes.length, mutex + kindOffset);
    }
  }

  #read() {
    const bytes = Buffer.alloc(8);
    readSync(this.#file, bytes, 0, bytes.length, newestOffset);
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
 * Opens an environment, and puts right what its lock file says.
 *
 * @param {typeof import("lmdb").openAsClass} openAsClass
 * @param {import("lmdb").RootDatabaseOptionsWithPath & { path: string }} options `path` is that of its directory.
 * @returns {{ readonly root: import("lmdb").RootDatabase<Buffer, Buffer>, readonly lockFile: LockFile | undefined }} Without
 * `lockFile` where that cannot be written: then LMDB has stored nothing either.
 */
export function openEnvironment(openAsClass, options) {
  const path = join(options.path, "lock.mdb");
  for (;;) {
    const lockFile = isWritable(path) ? LockFile.at(path) : undefined;
    try {
      // It is open then, and nothing has been locked yet: the root's tree is the first that is.
      const Root = /** @type {RootClass} */ (/** @type {unknown} */ (openAsClass({ ...options })));
      if (lockFile?.isInUse) lockFile.mendMutexes();
      const root = new Root(null, { ...options, isRoot: true });
      if (lockFile?.isInUse ?? !isWritable(path)) {
        lockFile?.correct(root);
        return { root, lockFile };
      }
      void root.close();
      lockFile?.close();
    } catch (error) {
      lockFile?.close();
      throw error;
    }
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
