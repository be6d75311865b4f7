import { statfsSync, statSync, truncateSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import type { Database, RootDatabase } from "lmdb";
import { dataFile, setFileRights } from "./directory.js";
import { databaseFailure, isFoundFull } from "./failure.js";
import { dataIdentity, type FileIdentity, fileIdentity } from "./files.js";
import { damaged, pageBytes } from "./header.js";
import { LivePages } from "./live-pages.js";
import { type LockFile, numberOf, openEnvironment } from "./lock-file.js";
import { makeDataFile, makeLockFile } from "./new-files.js";
import { oldestLookMs } from "./replacement.js";
import { Tree, type TreeName } from "./trees.js";
import { WriteMeter } from "./write-meter.js";

/** lmdb's CommonJS form is one file, and loads in half the time of its twenty-five modules: a third of what `cat` takes. */
const { openAsClass } = createRequire(import.meta.url)("lmdb") as typeof import("lmdb");

/**
 * Address space that is reserved at once, no memory. Else lmdb-js doubles the map as the file grows, and keeps every former
 * one until the environment is closed: the pages of all of them count as this process's.
 */
const mapBytes = 1024 ** 3;

const quietly = { throwIfNoEntry: false } as const;
const binary = { encoding: "binary", keyEncoding: "binary" } as const;

/** How often a process that writes looks for readers that have died: their snapshots keep pages from being used again. */
const readersCheckMs = 60_000;

/** With so much room no transaction is in danger of having none. */
const plentyBytes = 128 * 1024 * 1024;

/** What lmdb-js takes when it is given none: the transaction can be undone, and has ended on return. */
const usualFlags = 3;

/** MDB_NOMETASYNC: the pages are brought to the disk, and that they are the newest with the next transaction (lmdb.h). */
const noMetaSync = 0x4_0000;

/** More than other processes can spoil in a row. */
const beginnings = 1_000;

const begunOnOlder = new Error("the transaction has begun on an older state");

/** How long what is written has to last: for good, or only as long as the host runs. */
export type Lasting = "for good" | "until the host stops";

interface SharedRoot {
  readonly root: RootDatabase<Buffer, Buffer>;
  readonly lockFile: LockFile | undefined;
  readonly identity: FileIdentity | undefined;
  users: number;
  isClosed: boolean;
}

/**
 * The read-only environments of this process. One opened twice must be one: POSIX takes all of a process's locks on a
 * file away when any descriptor of it is closed, and its readers would count as dead. lmdb-js sees to that itself only
 * for those who may write the data.
 */
const readOnlyRoots = new Map<FileIdentity, SharedRoot>();

/** LMDB's two files as opened once, and what is in them. */
export class Handle {
  readonly #directory: string;
  readonly #dataPath: string;
  readonly #identity: FileIdentity | undefined;
  /** The same, as `stat` tells it: this is asked at every read. */
  readonly #file: { readonly dev: number; readonly ino: number } | undefined;
  readonly #shared: SharedRoot;
  readonly #trees = new Map<TreeName, Tree>();
  readonly #meter: WriteMeter;
  readonly #pages: LivePages;
  #isWriting = false;
  #readersCheckedAt = Date.now();
  /** In milliseconds of `performance.now()`. */
  #foundCurrentAt = Number.NEGATIVE_INFINITY;

  private constructor(directory: string, shared: SharedRoot) {
    this.#directory = directory;
    this.#meter = new WriteMeter(directory);
    this.#shared = shared;
    this.#dataPath = join(directory, dataFile);
    this.#file = statSync(this.#dataPath, quietly);
    this.#identity = this.#file && fileIdentity(this.#file);
    this.#pages = new LivePages(shared.root, this.#dataPath, this.#identity);
  }

  /** Opens files that have been examined; it makes those that are missing. */
  static open(directory: string, isReadOnly: boolean): Handle {
    const identity = dataIdentity(directory);
    const known = identity === undefined ? undefined : readOnlyRoots.get(identity);
    if (isReadOnly && known !== undefined) {
      known.users++;
      return new Handle(directory, known);
    }
    makeLockFile(directory);
    if (!isReadOnly) makeDataFile(directory);
    // One process has one environment for a file, and this one cannot be written with. Its users open again.
    if (known !== undefined) close(known);
    const shared = { ...openRoot(directory, isReadOnly), identity, users: 1, isClosed: false };
    if (isReadOnly && identity !== undefined) readOnlyRoots.set(identity, shared);
    if (!isReadOnly) setFileRights(directory);
    return new Handle(directory, shared);
  }

  /** Whether it can be used and its data file is still the directory's: two microseconds. */
  get isCurrent(): boolean {
    if (this.#shared.isClosed) return false;
    const found = statSync(this.#dataPath, quietly);
    return found?.ino === this.#file?.ino && found?.dev === this.#file?.dev;
  }

  /** The same as a look a moment ago has told: it takes longer than the rest of a read. See `oldestLookMs`. */
  get wasCurrent(): boolean {
    if (this.#shared.isClosed) return false;
    const now = performance.now();
    if (now - this.#foundCurrentAt < oldestLookMs) return true;
    if (this.isCurrent) this.#foundCurrentAt = now;
    return this.#foundCurrentAt === now;
  }

  /** Whether a transaction is under way. */
  get isWriting(): boolean {
    return this.#isWriting;
  }

  get isClosed(): boolean {
    return this.#shared.isClosed;
  }

  get identity(): FileIdentity | undefined {
    return this.#identity;
  }

  /** The number of the newest transaction that changed anything, of any process. */
  get lastTransaction(): number {
    return numberOf(this.#shared.root);
  }

  /** The tree; one that is not there is made, or undefined when read-only. */
  tree(name: TreeName): Tree | undefined {
    const known = this.#trees.get(name);
    if (known !== undefined) return known;
    const { root } = this.#shared;
    // Read-only, lmdb-js answers undefined for a tree that does not exist, whatever its types say.
    const database: Database<Buffer, Buffer> | undefined = root.openDB<Buffer, Buffer>(name, binary);
    if (database === undefined) return undefined;
    const tree = new Tree(database, this.#meter, (range) => {
      if (!this.#isWriting) this.#pages.requireSound(name, range);
    });
    this.#trees.set(name, tree);
    return tree;
  }

  /**
   * One transaction of LMDB, under the lock that only one writer of all processes has. One that need not last may
   * be undone by a power cut, but whole, and all before it stays. Throws CACHE_FULL, with nothing changed, when what it
   * writes can have no room.
   */
  transaction<T>(work: () => T, lasting: Lasting = "for good"): T {
    if (Date.now() - this.#readersCheckedAt > readersCheckMs) this.clearDeadReaders();
    for (let attempt = 1; ; attempt++) {
      try {
        return this.#shared.root.transactionSync(
          () => {
            this.#requireNewest();
            this.#meter.begin(this.#scarceRoom());
            this.#isWriting = true;
            try {
              return work();
            } finally {
              this.#isWriting = false;
            }
          },
          lasting === "for good" ? usualFlags : usualFlags | noMetaSync,
        );
      } catch (error) {
        if (error !== begunOnOlder) {
          if (isFoundFull(error, this.#directory)) this.#meter.fail();
          throw error;
        }
        if (attempt === beginnings)
          throw damaged(this.#dataPath, "no transaction begins on its newest state");
      }
    }
  }

  /** That the transaction goes on from the newest state, which cannot change meanwhile. See `LockFile`. */
  #requireNewest(): void {
    const { root, lockFile } = this.#shared;
    if (root.getWriteTxnId() === numberOf(root) + 1) return;
    lockFile?.write(numberOf(root));
    throw begunOnOlder;
  }

  /** How much can be written, on the disk and in free pages, if that is little. */
  #scarceRoom(): number | undefined {
    const { bavail, bsize } = statfsSync(this.#directory);
    const free = bavail * bsize;
    if (free >= plentyBytes) return undefined;
    const fileBytes = statSync(this.#dataPath, quietly)?.size ?? 0;
    return free + Math.max(0, fileBytes - this.liveBytes([...this.#trees.keys()]));
  }

  /** Looks at all pages of a tree, and reads all its values. Only inside a snapshot. Throws like a walk through them. */
  examineAll(name: TreeName): void {
    this.#pages.examineAll(name);
  }

  /** Moves on to the newest state. */
  renew(): void {
    this.#shared.root.resetReadTxn();
  }

  clearDeadReaders(): void {
    this.#readersCheckedAt = Date.now();
    this.#shared.root.readerCheck();
  }

  /** Bytes of the pages in use: what a compact copy has. */
  liveBytes(names: readonly TreeName[]): number {
    const counted = names.reduce((sum, name) => sum + (this.tree(name)?.pages ?? 0), 0);
    const { pageSize, treeBranchPageCount, treeLeafPageCount, overflowPages } = this.#counts();
    const metaPages = 2;
    return (counted + metaPages + treeBranchPageCount + treeLeafPageCount + overflowPages) * pageSize;
  }

  /**
   * Pages that were allocated at the end and freed in one transaction are counted but never written. The file is
   * given its full length again, so that one that lacks something can be told from it (see `checkDataFile`). It is
   * done under the writer's lock: nobody else can be writing behind the end then.
   */
  extendShortFile(isStillTheFile: () => boolean): void {
    const path = this.#dataPath;
    const isShort = (): boolean =>
      (statSync(path, quietly)?.size ?? Number.POSITIVE_INFINITY) < this.#countedBytes();
    if (!isShort()) return;
    this.transaction(() => {
      if (isStillTheFile() && isShort()) truncateSync(path, this.#countedBytes());
    });
  }

  close(): void {
    this.#pages.close();
    if (this.#shared.isClosed) return;
    this.#shared.users--;
    if (this.#shared.users === 0) close(this.#shared);
  }

  #countedBytes(): number {
    const { lastPageNumber, pageSize } = this.#counts();
    return (lastPageNumber + 1) * pageSize;
  }

  #counts(): Counts {
    // lmdb-js documents the method and not what it returns.
    return this.#shared.root.getStats() as Counts;
  }
}

interface Counts {
  readonly lastPageNumber: number;
  readonly pageSize: number;
  readonly treeBranchPageCount: number;
  readonly treeLeafPageCount: number;
  readonly overflowPages: number;
}

function close(shared: SharedRoot): void {
  const { identity } = shared;
  shared.isClosed = true;
  if (identity !== undefined && readOnlyRoots.get(identity) === shared) readOnlyRoots.delete(identity);
  // The environment is synchronous throughout: nothing is queued, so the returned promise has nothing to wait for.
  void shared.root.close();
  shared.lockFile?.close();
}

function openRoot(directory: string, readOnly: boolean): Pick<SharedRoot, "root" | "lockFile"> {
  const options = {
    path: directory,
    readOnly,
    noSubdir: false, // A dot in the directory's name would otherwise make lmdb-js take it for a file.
    ...binary,
    pageSize: pageBytes,
    mapSize: mapBytes,
    maxDbs: 32,
    maxReaders: 512,
    overlappingSync: false, // With it a power cut could lose content that another process has read already.
    eventTurnBatching: false,
    permissionsMode: 0o600, // Not in lmdb's types; without it the files are 0644. See setFileRights.
  };
  try {
    return openEnvironment(openAsClass, options);
  } catch (error) {
    throw databaseFailure(error, directory);
  }
}
