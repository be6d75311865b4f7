import type { FileHandle } from "node:fs/promises";
import { posix } from "node:path";
import { BpfcacheError } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";
import { ArchiveRefusal } from "../../image/archive/refusal.js";
import { chunksOf } from "./chunks.js";
import type { Files, ReadOptions } from "./files.js";
import { indexTar, type TarFile, type TarIndex } from "./tar-index.js";

export interface TarFilesOptions {
  /** What messages call the archive. */
  readonly where: string;
  readonly limits: Limits;
  readonly signal?: AbortSignal | undefined;
}

/** A tar archive in a file that can be read anywhere: only its index is held, files are read where they lie. */
export class TarFiles implements Files {
  readonly where: string;
  readonly #file: FileHandle;
  readonly #index: TarIndex;
  readonly #base: string;

  private constructor(file: FileHandle, where: string, index: TarIndex, base: string) {
    this.where = where;
    this.#file = file;
    this.#index = index;
    this.#base = base;
  }

  /** The file belongs to the result from then on, and is closed with it. Throws INVALID_IMAGE. */
  static async open(file: FileHandle, { where, limits, signal }: TarFilesOptions): Promise<TarFiles> {
    try {
      const index = await indexTar(file, { maxEntries: limits.archiveEntries, signal });
      return new TarFiles(file, where, index, "");
    } catch (error) {
      if (!(error instanceof ArchiveRefusal)) throw error;
      throw new BpfcacheError("INVALID_IMAGE", `${where} is refused: ${error.reason}`, { cause: error });
    }
  }

  has(path: string): boolean {
    return this.#index.files.has(this.#base + path);
  }

  /** The same archive seen from its only directory with `path` in it, when that is at the top: `tar c layout` makes such. */
  below(path: string): TarFiles | undefined {
    const found = [...this.#index.files.keys()].filter(
      (name) => name.endsWith(`/${path}`) && name.indexOf("/") === name.length - path.length - 1,
    );
    const [only] = found;
    if (only === undefined || found.length > 1) return undefined;
    return new TarFiles(this.#file, this.where, this.#index, only.slice(0, -path.length));
  }

  async size(path: string): Promise<number> {
    return this.#entry(path).size;
  }

  async read(path: string, { maxBytes, signal }: ReadOptions): Promise<AsyncIterable<Uint8Array>> {
    const { offset, size } = this.#entry(path);
    return chunksOf(this.#file, offset, Math.min(size, maxBytes), signal);
  }

  /**
   * The file that a path means: itself, or what the one symbolic link there leads to inside the archive. Docker's
   * archives use links for layers that several images have, and skopeo's for names of older versions.
   * Throws NOT_FOUND, or INVALID_IMAGE for a link to anywhere else.
   */
  follow(path: string): string {
    const target = this.#index.links.get(this.#base + path);
    if (target === undefined) return path;
    const led = posix.join(posix.dirname(path), target);
    if (target.startsWith("/") || led.startsWith("..") || !this.has(led)) {
      throw new BpfcacheError(
        "INVALID_IMAGE",
        `${JSON.stringify(path)} in ${this.where} is a link that leads to no file of the archive`,
      );
    }
    return led;
  }

  async close(): Promise<void> {
    await this.#file.close();
  }

  #entry(path: string): TarFile {
    const entry = this.#index.files.get(this.#base + path);
    if (entry !== undefined) return entry;
    if (this.#index.links.has(this.#base + path)) {
      throw new BpfcacheError("INVALID_IMAGE", `${path} in ${this.where} is a symbolic link`);
    }
    throw new BpfcacheError("NOT_FOUND", `${this.where} has no ${path}`);
  }
}
