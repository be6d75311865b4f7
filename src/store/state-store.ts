import { resolve } from "node:path";
import { BpfcacheError } from "../core/errors.js";
import { Environment } from "./environment.js";
import { KeyRange } from "./key-range.js";
import { StateTree, type TreeEvent, type TreeHost } from "./state-tree.js";

export interface StateStoreOptions {
  /** A cache's directory, made when there is none. Without it a temporary one is made, and removed on close. */
  readonly directory?: string | undefined;
}

interface Watcher {
  readonly tree: string;
  readonly prefix: Buffer;
  readonly listener: (event: TreeEvent) => void;
}

/** By directory: every handle of this process on one database sees the changes that any of them makes. */
const watchers = new Map<string, Set<Watcher>>();

/**
 * Trees of the user's own in a cache's database, beside the images and never in their way: sled's trees, for what a
 * loader wants to remember. The database is opened when it is first used.
 */
export class StateStore {
  readonly #open: () => Environment;
  readonly #closes: boolean;
  readonly #host: TreeHost;
  #environment: Environment | undefined;
  /** Of the transaction that is under way. */
  #events: TreeEvent[] | undefined;
  #isClosed = false;

  /** @internal Use `openStore`, or `cache.tree`. */
  constructor(open: () => Environment, closes: boolean) {
    this.#open = open;
    this.#closes = closes;
    this.#host = {
      range: (name) => new KeyRange(this.#opened, "trees", treePrefix(name)),
      write: (write) => this.#write(write),
      watch: (tree, prefix, listener) => this.#watch({ tree, prefix, listener }),
    };
  }

  /** The tree of a name; one that nothing is in is the same as one that does not exist. Throws USAGE for a name over 255 bytes, or empty. */
  tree(name: string): StateTree {
    treePrefix(name);
    return new StateTree(name, this.#host);
  }

  /** Of all trees that something is in. */
  treeNames(): readonly string[] {
    const environment = this.#opened;
    return environment.snapshot(() => {
      const names: string[] = [];
      let key = environment.tree("trees").keysAfter(Buffer.alloc(0), undefined, 1)[0];
      while (key !== undefined) {
        const end = 1 + (key[0] ?? 0);
        names.push(key.toString("utf8", 1, end));
        key = environment.tree("trees").firstKeyBehind(Buffer.from(key.subarray(0, end)));
      }
      return names;
    });
  }

  /** Removes a tree with all that is in it. */
  dropTree(name: string): void {
    this.tree(name).clear();
  }

  /**
   * Runs `work` as one transaction over all trees: its reads see one state and what it has written; when it throws,
   * none of it has happened. It must be synchronous: no other process can write meanwhile. Throws USAGE, CACHE_FULL.
   *
   * @example
   * store.transaction(() => {
   *   counts.insert("total", String(Number(counts.get("total") ?? 0) + 1));
   *   names.insert("last", "xdp_pass");
   * });
   */
  transaction<T>(work: () => T): T {
    return this.#write(() => {
      const result = work();
      if (isThenable(result)) throw new BpfcacheError("USAGE", "a transaction cannot wait for anything");
      return result;
    });
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    if (this.#closes) this.#environment?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  get #opened(): Environment {
    if (this.#isClosed) throw new BpfcacheError("USAGE", "the store has been closed");
    this.#environment ??= this.#open();
    return this.#environment;
  }

  #write<T>(write: (changed: (event: TreeEvent) => void) => T): T {
    const changed = (event: TreeEvent): void => void this.#events?.push(event);
    if (this.#events !== undefined) return write(changed);
    const environment = this.#opened;
    let events: TreeEvent[] = [];
    try {
      const result = environment.commit(() => {
        this.#events = []; // A transaction may have to begin again.
        return write(changed);
      });
      events = this.#events ?? [];
      return result;
    } finally {
      this.#events = undefined;
      for (const event of events) tell(environment.directory, event);
    }
  }

  #watch(watcher: Watcher): () => void {
    const directory = resolve(this.#opened.directory);
    const all = watchers.get(directory) ?? new Set();
    watchers.set(directory, all.add(watcher));
    return () => {
      all.delete(watcher);
      if (all.size === 0) watchers.delete(directory);
    };
  }
}

function tell(directory: string, event: TreeEvent): void {
  for (const { tree, prefix, listener } of watchers.get(resolve(directory)) ?? []) {
    if (tree === event.tree && event.key.subarray(0, prefix.length).equals(prefix)) listener(event);
  }
}

const maxNameBytes = 255;

/** The length goes before the name, so that no tree's rows are within another's. */
function treePrefix(name: string): Buffer {
  const bytes = Buffer.from(name);
  if (bytes.length === 0 || bytes.length > maxNameBytes || bytes.toString() !== name) {
    throw new BpfcacheError(
      "USAGE",
      `${JSON.stringify(name)} is not a tree's name, which has 1 to ${maxNameBytes} bytes`,
    );
  }
  return Buffer.concat([Buffer.of(bytes.length), bytes]);
}

function isThenable(value: unknown): boolean {
  return typeof value === "object" && value !== null && "then" in value && typeof value.then === "function";
}

/**
 * Opens the trees of a cache's database for reading and writing. Nothing is opened before the first use, which throws
 * what `openCache` does; it may be a constant of a module, as a program's one handle. Without a directory it is a
 * temporary database, for tests.
 *
 * @example
 * const store = openStore({ directory: "/var/lib/bpfcache" });
 * const links = store.tree("links");
 * links.insert("eth0", "xdp_pass");
 * links.scanPrefix("eth").map(({ key, value }) => `${key}: ${value}`);
 */
export function openStore(options: StateStoreOptions = {}): StateStore {
  return new StateStore(() => Environment.open({ directory: options.directory }), true);
}
