import { randomUUID } from "node:crypto";
import { rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { BpfcacheError } from "../core/errors.js";
import { thisProcess } from "../core/process-identity.js";
import { finishStartingAnew, type Recovery, startAnew } from "./damage.js";
import { checkReadableDirectory, dataFile, makeTemporaryDirectory, prepareDirectory } from "./directory.js";
import { examine, notYetMade } from "./examine.js";
import { databaseFailure, isFoundByLmdb } from "./failure.js";
import { dataIdentity, type FileIdentity, removeLeftovers } from "./files.js";
import { Handle, type Lasting } from "./handle.js";
import { type LostReference, rememberLost } from "./lost.js";
import { migrate, putSchema, refuseNewer, schemaOf, schemaVersion } from "./migrations.js";
import { markAsSuspect, OpenMark } from "./open-marks.js";
import { replaceLock } from "./replace-files.js";
import { type Claim, claimReplacement, isClaimed, type Plan, waitForReplacement } from "./replacement.js";
import { type Tree, type TreeName, treeNames } from "./trees.js";

const movedMeanwhile = Symbol("the files were replaced meanwhile");

/**
 * A reader copies the roots of the trees from one of two meta pages. One that loses the processor in the middle of it,
 * while two transactions end, copies parts of two states, and LMDB finds wrong pages (seen once in thousands of reads
 * beside eight writers). The next snapshot is whole; what is wrong in that too is damage.
 */
const snapshotAttempts = 3;

const environmentIdKey = Buffer.from("environmentId");

/** Of all environments: lmdb-js hands every view of this process out of one buffer. */
let viewsLive = 0;

export interface EnvironmentOptions {
  /** Where data.mdb is. Without it a temporary one is made, and removed on close. */
  readonly directory?: string | undefined;
  readonly readOnly?: boolean | undefined;
  /** Which boot this is said to be, for tests; the kernel's by default. */
  readonly bootId?: string | undefined;
}

/** Thrown out of a transaction that must not be made in these files, for others are to take their place. */
class Replaced extends Error {}

/**
 * One LMDB environment with its fixed trees: many processes may have it open, one writes at a time, readers never
 * wait. All writes go through `commit`. Its files may be replaced meanwhile (see replacement.ts): it then goes on with
 * the new ones, so a tree is asked for where it is used and not kept.
 */
export class Environment {
  readonly directory: string;
  /** Set when the files were damaged when they were opened, and a new environment was begun. */
  recovery: Recovery | undefined;
  readonly isReadOnly: boolean;
  /** Writes into every commit, behind what that is for; what it returns is called when the commit has ended well. */
  alongCommit: (() => () => void) | undefined;
  /** The boot that programs loaded now belong to: in another one the kernel knows nothing of them. */
  readonly bootId: string;
  readonly #isTemporary: boolean;
  /** Only of one that may write. */
  readonly #mark: OpenMark | undefined;
  #opened: Handle | undefined;
  /** Handles that were let go of while something may still have been reading from them. */
  #former: Handle[] = [];
  #claim: Claim | undefined;
  /** What callbacks with views have thrown: failures of theirs, whatever their numbers mean to LMDB. */
  readonly #ofCaller = new WeakSet<Error>();
  /** How many calls of `commit` and `snapshot` are under way, one within the other. */
  #depth = 0;
  #isReading = false;
  #isClosed = false;

  /**
   * Opens or makes the environment. A damaged one is moved aside and a new one begun (see `recovery`), except
   * read-only: CACHE_CORRUPT. Throws USAGE for a directory that is not safe to use or a schema newer than this program,
   * NOT_CACHED when opened read-only and absent, CACHE_FULL when there is no room to make or migrate it, CACHE_BUSY when
   * another process replaces the files for too long.
   */
  static open(options: EnvironmentOptions = {}): Environment {
    const { directory, readOnly = false, bootId = thisProcess().bootId } = options;
    const path = directory ?? makeTemporaryDirectory();
    if (readOnly) {
      checkReadableDirectory(path);
    } else {
      requireNoView();
      prepareDirectory(path);
      removeLeftovers(path);
    }
    return new Environment(path, directory === undefined, readOnly, bootId);
  }

  /** With a claim, that is this process's own, the files are opened as they are. */
  private constructor(
    directory: string,
    isTemporary: boolean,
    isReadOnly: boolean,
    bootId: string,
    claim?: Claim,
  ) {
    this.directory = directory;
    this.#isTemporary = isTemporary;
    this.isReadOnly = isReadOnly;
    this.bootId = bootId;
    this.#claim = claim;
    try {
      this.#mark = isReadOnly ? undefined : new OpenMark(directory);
      this.#opened = claim === undefined ? this.#openHandle() : Handle.open(directory, false);
      this.#prepareContent();
    } catch (error) {
      this.close();
      throw this.#failure(error);
    }
  }

  /** The tree as it is now; it is not to be kept. Throws USAGE for one that an older schema does not have. */
  tree(name: TreeName): Tree {
    this.#requireOpen();
    const tree = this.#handle.tree(name);
    if (tree !== undefined) return tree;
    throw new BpfcacheError("USAGE", `the cache in ${this.directory} has an old schema, without ${name}`, {
      hint: "Open it once for writing, with bpfcache prefetch for one, and it is migrated.",
    });
  }

  /**
   * Runs `write` in one transaction: on return all of it is visible to every process and, unless it need not last, on the
   * disk for good; when it throws, none of it ever was. What need not outlast a power cut, though it may, waits for the
   * disk once and not twice. `write` must not wait for anything: no other process can write meanwhile. Within another
   * `commit` it is part of that one. Throws CACHE_FULL, CACHE_CORRUPT, or CACHE_BUSY; USAGE when a newer bpfcache has migrated the cache meanwhile.
   *
   * This is transactionSync because lmdb-js's asynchronous commits lose errors (a full disk ends the process) and do not
   * roll back when the callback throws.
   */
  commit<T>(write: () => T, lasting: Lasting = "for good"): T {
    this.#requireOpen();
    requireNoView();
    if (this.#handle.isWriting) return write();
    return this.#within(() => {
      this.#mark?.bringToDisk();
      for (;;) {
        try {
          const result = this.#transaction(write, lasting);
          this.#handle.extendShortFile(() => this.#mayWrite());
          // A snapshot that it was made in goes on with what has been written.
          if (this.#isReading) this.#handle.renew();
          return result;
        } catch (error) {
          if (!(error instanceof Replaced)) throw this.#failure(error);
        }
        try {
          this.#reopen();
        } catch (error) {
          throw this.#failure(error);
        }
      }
    });
  }

  /** Runs `read` on the newest committed state: all its reads see the same one. Within a `commit` they see what that has written. */
  snapshot<T>(read: () => T): T {
    this.#requireOpen();
    requireNoView();
    // Within another snapshot it is part of that one, which would not be one state if this moved on.
    if (this.#handle.isWriting || this.#isReading) return read();
    return this.#within(() => {
      for (let attempt = 1; ; attempt++) {
        try {
          if (this.#depth === 1) this.#followReplacement();
          this.#handle.renew();
          this.#isReading = true;
          return read();
        } catch (error) {
          const isLast =
            attempt === snapshotAttempts || (error instanceof Error && this.#ofCaller.has(error));
          if (isLast || !isFoundByLmdb(databaseFailure(error, this.directory))) throw this.#failure(error);
        } finally {
          this.#isReading = false;
        }
      }
    });
  }

  /** Calls `use` with views of values; while it runs, every other read is refused. */
  guardView<T>(use: () => T): T {
    viewsLive++;
    try {
      return use();
    } catch (error) {
      if (error instanceof Error) this.#ofCaller.add(error);
      throw error;
    } finally {
      viewsLive--;
    }
  }

  /**
   * Runs `work` while no other process opens the environment or writes into it, which only what replaces its files or
   * its schema needs. Throws CACHE_BUSY.
   */
  exclusively<T>(kind: Plan["kind"], work: () => T): T {
    this.#requireOpen();
    requireNoView();
    this.#mark?.bringToDisk();
    for (;;) {
      this.#waitForReplacement();
      const claim = claimReplacement(this.directory, { kind });
      if (claim === undefined) continue;
      this.#claim = claim;
      try {
        if (this.#handle.isCurrent) {
          this.#handle.transaction(() => {}); // Who is writing now, has looked for the claim before there was one.
          return work();
        }
      } finally {
        this.#claim = undefined;
        finishReplacing(this.directory, claim);
      }
      this.#reopen();
    }
  }

  /** Has all pages of a tree looked at, and all its values read. Throws CACHE_CORRUPT. */
  examineAll(name: TreeName): void {
    this.snapshot(() => this.#handle.examineAll(name));
  }

  /** The number of the newest transaction that changed anything. */
  get lastTransaction(): number {
    this.#requireOpen();
    return this.#handle.lastTransaction;
  }

  /** Drawn when it was made; a compact copy keeps it, one that is begun anew has another. */
  get id(): string {
    return this.snapshot(() => this.tree("meta").get(environmentIdKey)?.toString() ?? "");
  }

  /** What a compact copy takes. */
  get liveBytes(): number {
    return this.snapshot(() => this.#handle.liveBytes(treeNames));
  }

  /** The size of data.mdb, and how much of it is free pages that the next writes use first. */
  space(): { readonly fileBytes: number; readonly freeBytes: number } {
    const fileBytes = statSync(join(this.directory, dataFile)).size;
    return { fileBytes, freeBytes: Math.max(0, fileBytes - this.liveBytes) };
  }

  /** Lets pages go that only readers hold which have died. */
  clearDeadReaders(): void {
    this.#requireOpen();
    this.#handle.clearDeadReaders();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    for (const handle of [this.#opened, ...this.#former]) handle?.close();
    this.#mark?.remove();
    if (this.#isTemporary) rmSync(this.directory, { recursive: true, force: true });
  }

  #transaction<T>(write: () => T, lasting: Lasting): T {
    let ended = (): void => {};
    const result = this.#handle.transaction(() => {
      if (!this.#mayWrite()) throw new Replaced();
      refuseNewer(schemaOf(this) ?? schemaVersion, this.directory);
      const written = write();
      ended = this.alongCommit?.() ?? ended;
      return written;
    }, lasting);
    ended();
    return result;
  }

  #mayWrite(): boolean {
    return (this.#claim !== undefined || !isClaimed(this.directory)) && this.#handle.isCurrent;
  }

  #within<T>(work: () => T): T {
    this.#depth++;
    try {
      return work();
    } finally {
      this.#depth--;
      if (this.#depth === 0) for (const handle of this.#former.splice(0)) handle.close();
    }
  }

  /** While others replace the files, and where there is none any more, what is open is read on: it is whole. */
  #followReplacement(): void {
    if (this.#handle.wasCurrent) return;
    const isThere = dataIdentity(this.directory) !== undefined && !isClaimed(this.directory);
    if (this.#handle.isClosed || isThere) this.#reopen();
  }

  #reopen(): void {
    const former = this.#handle;
    this.#opened = this.#openHandle();
    this.#former.push(former);
    this.#prepareContent();
    if (this.#depth === 0) for (const handle of this.#former.splice(0)) handle.close();
  }

  /** Opens files that are sound, of which nobody replaces one while the other is opened. */
  #openHandle(): Handle {
    const { directory } = this;
    for (;;) {
      this.#waitForReplacement();
      const examined = dataIdentity(directory);
      const fault = this.#examine(examined);
      if (fault === movedMeanwhile) continue;
      if (fault !== undefined) {
        this.recovery = startAnew(directory, examined, fault, this.#beginAnew) ?? this.recovery;
        continue;
      }
      const handle = Handle.open(directory, this.isReadOnly);
      const isSame = examined === undefined || examined === handle.identity;
      if (isSame && handle.isCurrent && !isClaimed(directory)) return handle;
      handle.close();
    }
  }

  /** What was moved aside while it was looked at has shown nothing by failing. */
  #examine(examined: FileIdentity | undefined): string | undefined | typeof movedMeanwhile {
    try {
      return examine(this.directory, this.isReadOnly);
    } catch (error) {
      if (examined !== undefined && dataIdentity(this.directory) !== examined) return movedMeanwhile;
      throw error;
    }
  }

  /** Brings the schema up to date, or, read-only, sees whether it can be read. */
  #prepareContent(): void {
    if (this.isReadOnly && this.#handle.tree("meta") === undefined) throw notYetMade(this.directory);
    const version = this.snapshot(() => schemaOf(this));
    refuseNewer(version ?? schemaVersion, this.directory); // Before anything is made in it.
    if (version === undefined && this.isReadOnly) throw notYetMade(this.directory);
    const openTrees = (): void => {
      for (const name of treeNames) this.#handle.tree(name);
    };
    if (this.isReadOnly) {
      openTrees();
      return;
    }
    this.#handle.transaction(openTrees); // Those that are missing are made.
    this.#handle.extendShortFile(() => this.#mayWrite());
    if (version === undefined) this.commit(() => this.#putFirstRows());
    else if (version < schemaVersion) migrate(this);
  }

  #putFirstRows(): void {
    if (schemaOf(this) !== undefined) return; // Another process was first.
    putSchema(this, schemaVersion);
    this.tree("meta").put(environmentIdKey, Buffer.from(randomUUID()));
  }

  #waitForReplacement(): void {
    const mayFinish = ({ kind }: Plan): boolean => !this.isReadOnly || kind !== "damaged";
    waitForReplacement(this.directory, mayFinish, (claim) => this.#finish(claim));
  }

  /** What a process has begun that died in the middle of it. */
  #finish(claim: Claim): void {
    if (claim.plan.kind === "damaged") {
      this.recovery = finishStartingAnew(this.directory, claim, this.#beginAnew);
      return;
    }
    finishReplacing(this.directory, claim);
  }

  readonly #beginAnew = (claim: Claim, lost: readonly LostReference[]): void => {
    const environment = new Environment(this.directory, false, false, this.bootId, claim);
    try {
      environment.commit(() => {
        for (const reference of lost) rememberLost(environment, reference);
      });
    } finally {
      environment.close();
    }
  };

  get #handle(): Handle {
    if (this.#opened === undefined) throw new BpfcacheError("INTERNAL", "the environment is not open yet");
    return this.#opened;
  }

  #failure(error: unknown): unknown {
    if (error instanceof Error && this.#ofCaller.has(error)) return error;
    const failure = databaseFailure(error, this.directory);
    if (failure !== error && failure instanceof BpfcacheError && failure.code === "CACHE_CORRUPT")
      markAsSuspect(this.directory);
    return failure;
  }

  #requireOpen(): void {
    // lmdb-js ends the process when a closed database is used.
    if (this.#isClosed) throw new BpfcacheError("USAGE", "the cache has been closed");
  }
}

/** Where the lock file cannot be replaced, the claim stays until it can: nobody may use it with the new data. */
function finishReplacing(directory: string, claim: Claim): void {
  try {
    replaceLock(directory, claim.plan);
  } catch (error) {
    claim.abandon();
    throw error;
  }
  claim.release();
}

function requireNoView(): void {
  if (viewsLive === 0) return;
  throw new BpfcacheError(
    "USAGE",
    "a cache was used inside a withBytecode callback, which would overwrite its view",
  );
}
