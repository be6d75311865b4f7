import { randomUUID } from "node:crypto";
import { rmSync, statSync, truncateSync } from "node:fs";
import { join } from "node:path";
import { type Database, open, type RootDatabase } from "lmdb";
import { BpfcacheError } from "../core/errors.js";
import {
  checkReadableDirectory,
  dataFile,
  fileMode,
  makeTemporaryDirectory,
  prepareDirectory,
} from "./directory.js";
import { databaseFailure } from "./failure.js";
import { checkDataFile } from "./header.js";
import { probe } from "./probe.js";
import { Tree, type TreeName, treeNames } from "./trees.js";

/** Raised by one with every change of the format that an older version cannot read. */
export const schemaVersion = 1;

const schemaKey = Buffer.from("schema");
const environmentIdKey = Buffer.from("environmentId");

/** Of all environments: lmdb-js hands every view of this process out of one buffer. */
let viewsLive = 0;

export interface EnvironmentOptions {
  /** Where data.mdb is. Without it a temporary one is made, and removed on close. */
  readonly directory?: string | undefined;
  readonly readOnly?: boolean | undefined;
}

/**
 * One LMDB environment with its fixed trees: many processes may have it open, one writes at a time, readers never
 * wait. All writes go through `commit`.
 */
export class Environment {
  readonly directory: string;
  readonly isReadOnly: boolean;
  readonly #root: RootDatabase<Buffer, Buffer>;
  readonly #trees = new Map<TreeName, Tree>();
  readonly #isTemporary: boolean;
  #isClosed = false;

  private constructor(
    directory: string,
    options: { readonly isTemporary: boolean; readonly isReadOnly: boolean },
    root: RootDatabase<Buffer, Buffer>,
  ) {
    const { isTemporary, isReadOnly } = options;
    this.directory = directory;
    this.isReadOnly = isReadOnly;
    this.#isTemporary = isTemporary;
    this.#root = root;
  }

  /**
   * Opens or makes the environment. Throws CACHE_CORRUPT for a damaged file (before LMDB, which would crash, sees
   * it), USAGE for a directory that is not safe to use or a schema newer than this program, NOT_CACHED when opened
   * read-only and absent, CACHE_FULL when there is no room to make it.
   */
  static open(options: EnvironmentOptions = {}): Environment {
    const { directory, readOnly = false } = options;
    const path = directory ?? makeTemporaryDirectory();
    if (readOnly) checkReadableDirectory(path);
    else prepareDirectory(path);
    const finding = checkDataFile(join(path, dataFile));
    if (finding === "empty" && readOnly) throw notYetMade(path);
    if (finding === "short") probe(path);
    const kind = { isTemporary: directory === undefined, isReadOnly: readOnly };
    const environment = new Environment(path, kind, openRoot(path, readOnly));
    try {
      environment.#openTrees();
      environment.#checkSchema(readOnly);
      if (finding === "short" && !readOnly) environment.#extendShortFile();
    } catch (error) {
      environment.close();
      throw databaseFailure(error, path);
    }
    return environment;
  }

  tree(name: TreeName): Tree {
    this.#requireOpen();
    const tree = this.#trees.get(name);
    if (tree === undefined) throw new BpfcacheError("INTERNAL", `no tree named ${name}`);
    return tree;
  }

  /**
   * Runs `write` in one transaction: on return all of it is on the disk and visible to every process, or, when it
   * throws, none of it ever was. It must not wait for anything: no other process can write meanwhile. This is
   * transactionSync because lmdb-js's asynchronous commits lose errors (a full disk ends the process) and do not
   * roll back when the callback throws. Throws CACHE_FULL or CACHE_CORRUPT.
   */
  commit<T>(write: () => T): T {
    this.#requireOpen();
    this.#requireNoView();
    try {
      const result = this.#root.transactionSync(write);
      this.#extendShortFile();
      return result;
    } catch (error) {
      throw databaseFailure(error, this.directory);
    }
  }

  /** Runs `read` on the newest committed state: all its reads see the same one. */
  snapshot<T>(read: () => T): T {
    this.#requireOpen();
    this.#requireNoView();
    try {
      this.#root.resetReadTxn();
      return read();
    } catch (error) {
      throw databaseFailure(error, this.directory);
    }
  }

  /** Calls `use` with views of values; while it runs, every other read is refused. */
  guardView<T>(use: () => T): T {
    viewsLive++;
    try {
      return use();
    } finally {
      viewsLive--;
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    // The environment is synchronous throughout: nothing is queued, so the returned promise has nothing to wait for.
    void this.#root.close();
    if (this.#isTemporary) rmSync(this.directory, { recursive: true, force: true });
  }

  /**
   * Pages that were allocated at the end and freed in one transaction are counted but never written. The file is
   * given its full length again, so that one that lacks something can be told from it (see `checkDataFile`). It is
   * done under the writer's lock: nobody else can be writing behind the end then.
   */
  #extendShortFile(): void {
    const path = join(this.directory, dataFile);
    if (statSync(path).size >= this.#countedBytes()) return;
    this.#root.transactionSync(() => {
      const bytes = this.#countedBytes();
      if (statSync(path).size < bytes) truncateSync(path, bytes);
    });
  }

  #countedBytes(): number {
    // lmdb-js documents the method and not what it returns.
    const { lastPageNumber, pageSize } = this.#root.getStats() as {
      lastPageNumber: number;
      pageSize: number;
    };
    return (lastPageNumber + 1) * pageSize;
  }

  #requireNoView(): void {
    if (viewsLive === 0) return;
    throw new BpfcacheError(
      "USAGE",
      "a cache was used inside a withBytecode callback, which would overwrite its view",
    );
  }

  #requireOpen(): void {
    // lmdb-js ends the process when a closed database is used.
    if (this.#isClosed) throw new BpfcacheError("USAGE", "the cache has been closed");
  }

  #openTrees(): void {
    for (const name of treeNames) {
      // Read-only, lmdb-js answers undefined for a tree that does not exist, whatever its types say.
      const database: Database<Buffer, Buffer> | undefined = this.#root.openDB<Buffer, Buffer>(name, {
        encoding: "binary",
        keyEncoding: "binary",
      });
      if (database === undefined) throw notYetMade(this.directory);
      this.#trees.set(name, new Tree(database));
    }
  }

  #checkSchema(readOnly: boolean): void {
    const meta = this.tree("meta");
    const found = meta.get(schemaKey);
    if (found === undefined) {
      if (readOnly) throw notYetMade(this.directory);
      this.commit(() => {
        if (meta.get(schemaKey) !== undefined) return; // Another process was first.
        const version = Buffer.alloc(4);
        version.writeUInt32BE(schemaVersion);
        meta.put(schemaKey, version);
        meta.put(environmentIdKey, Buffer.from(randomUUID()));
      });
      return;
    }
    const version = found.readUInt32BE();
    if (version > schemaVersion) {
      throw new BpfcacheError(
        "USAGE",
        `the cache in ${this.directory} has schema ${version}; this bpfcache knows up to ${schemaVersion}`,
        { hint: "Use the newer bpfcache that wrote it, or another directory. Nothing was changed." },
      );
    }
  }
}

function openRoot(directory: string, readOnly: boolean): RootDatabase<Buffer, Buffer> {
  const options = {
    path: directory,
    readOnly,
    noSubdir: false, // A dot in the directory's name would otherwise make lmdb-js take it for a file.
    encoding: "binary" as const,
    keyEncoding: "binary" as const,
    pageSize: 4096,
    maxDbs: 32,
    maxReaders: 512,
    overlappingSync: false, // Visible must mean durable: with it a power cut can lose what another process has read.
    eventTurnBatching: false,
    permissionsMode: fileMode(directory), // Not in lmdb's types; without it the files are 0644.
  };
  try {
    return open<Buffer, Buffer>(options);
  } catch (error) {
    throw databaseFailure(error, directory);
  }
}

function notYetMade(directory: string): BpfcacheError {
  return new BpfcacheError("NOT_CACHED", `the cache in ${directory} has nothing in it yet`, {
    hint: "Fill it with bpfcache prefetch or bpfcache seed.",
  });
}
