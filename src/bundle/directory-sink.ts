import { mkdir, rm } from "node:fs/promises";
import { dirname, join } from "node:path";
import type { BundleSink } from "./bundle-sink.js";
import { moveIntoPlace, requireWritable, syncDirectory, temporaryNameFor, writeDurably } from "./target.js";

/** Files under way at a time: the disk is given some to order, and memory holds no more than these. */
const filesAtATime = 8;

/** A bundle as a directory. */
export class DirectorySink implements BundleSink {
  readonly #path: string;
  readonly #mayOverwrite: boolean;
  readonly #temporary: string;
  readonly #directories = new Map<string, Promise<unknown>>();
  readonly #writing = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  /** Throws USAGE when something is at `path` that may not be replaced. */
  constructor(path: string, mayOverwrite: boolean) {
    requireWritable(path, "directory", mayOverwrite);
    this.#path = path;
    this.#mayOverwrite = mayOverwrite;
    this.#temporary = temporaryNameFor(path);
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    while (this.#writing.size >= filesAtATime) await Promise.race(this.#writing);
    this.#throwFailure();
    const writing = this.#writeFile(join(this.#temporary, path), bytes)
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => this.#writing.delete(writing));
    this.#writing.add(writing);
  }

  async commit(): Promise<void> {
    await Promise.all(this.#writing);
    this.#throwFailure();
    await Promise.all([...this.#directories.keys()].map(syncDirectory));
    requireWritable(this.#path, "directory", this.#mayOverwrite);
    await moveIntoPlace(this.#temporary, this.#path);
  }

  async abandon(): Promise<void> {
    await Promise.all(this.#writing);
    await rm(this.#temporary, { recursive: true, force: true });
  }

  async #writeFile(file: string, bytes: Uint8Array): Promise<void> {
    await this.#makeDirectory(dirname(file));
    await writeDurably(file, bytes);
  }

  #makeDirectory(path: string): Promise<unknown> {
    const made = this.#directories.get(path) ?? this.#makeBelowItsParent(path);
    this.#directories.set(path, made);
    return made;
  }

  /** Not mkdir's `recursive`: where the place is to be must exist, and in /proc that never comes to an end. */
  async #makeBelowItsParent(path: string): Promise<void> {
    if (path !== this.#temporary) await this.#makeDirectory(dirname(path));
    await mkdir(path);
  }

  #throwFailure(): void {
    if (this.#failure !== undefined) throw this.#failure.error;
  }
}
