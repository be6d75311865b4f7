import { createHash } from "node:crypto";
import { existsSync, mkdirSync, realpathSync, rmdirSync, statfsSync } from "node:fs";
import { dirname, join } from "node:path";
import { blockFor } from "../core/block-for.js";
import { BpfcacheError, codeOf } from "../core/errors.js";
import { namesIn } from "../store/files.js";
import { removeIfEmpty, unlinkIfThere } from "./unlink.js";

/** Where the BPF file system belongs (Documentation/bpf, bpffs). */
const bpffs = "/sys/fs/bpf";
/** BPF_FS_MAGIC, linux/magic.h. */
const bpffsMagic = 0xcafe4a11;

/** What bpfcache pins is under this directory, but for what `--pin` puts elsewhere. */
const ownRoot = join(bpffs, "bpfcache");

/** How long something may be pinned behind our back while a directory is removed. */
const removalMs = 5_000;
const pauseMs = 2;

/** The directory of one load: `programs` and `maps` are in it, as the loader makes them. */
export class LoadDirectory {
  readonly path: string;

  constructor(path: string) {
    this.path = path;
  }

  get programs(): string {
    return join(this.path, "programs");
  }

  get maps(): string {
    return join(this.path, "maps");
  }

  programPin(name: string): string {
    return join(this.programs, name);
  }

  mapPin(name: string): string {
    return join(this.maps, pinName(name));
  }

  hasProgram(name: string): boolean {
    return existsSync(this.programPin(name));
  }

  hasMap(name: string): boolean {
    return existsSync(this.mapPin(name));
  }

  mapPins(): readonly string[] {
    return namesIn(this.maps);
  }

  /**
   * Makes it, and with it what leads to it, unless something is there. Throws USAGE when it is not on a BPF file
   * system.
   */
  make(): void {
    const parent = dirname(this.path);
    try {
      for (let attempt = 1; ; attempt++) {
        mkdirSync(parent, { recursive: true, mode: 0o700 });
        try {
          mkdirSync(this.path, { mode: 0o700 });
          break;
        } catch (error) {
          // The last of another process's pins has gone, and the directory with it.
          if (codeOf(error) !== "ENOENT" || attempt === 10) throw error;
        }
      }
    } catch (cause) {
      throw notMade(this.path, cause);
    }
    if (isOnBpffs(this.path)) return;
    rmdirSync(this.path);
    throw notBpffs(this.path);
  }

  unpinProgram(name: string): void {
    unlinkIfThere(this.programPin(name));
  }

  /**
   * Removes it with all that is pinned in it: what nothing else uses, the kernel lets go of. A loader whose process
   * has died may still be pinning; once the directory is away it cannot any more, and what it has loaded goes with it.
   */
  remove(): void {
    const deadline = Date.now() + removalMs;
    for (;;) {
      for (const directory of [this.programs, this.maps]) {
        for (const name of namesIn(directory)) unlinkIfThere(join(directory, name));
        removeIfEmpty(directory);
      }
      if (removeIfEmpty(this.path)) break;
      if (Date.now() < deadline) {
        blockFor(pauseMs);
        continue;
      }
      throw new BpfcacheError("TOOL_FAILED", `${this.path} cannot be removed: something else is in it`);
    }
    for (let above = dirname(this.path); above.startsWith(ownRoot); above = dirname(above))
      removeIfEmpty(above);
  }
}

/** The directories of one cache's loads. Two caches never have the same ones, nor has one that was begun anew. */
export class Pins {
  readonly #cache: { readonly directory: string; readonly id: string };
  #known: string | undefined;

  constructor(cache: { readonly directory: string; readonly id: string }) {
    this.#cache = cache;
  }

  /** Found out when it is first needed: most caches load no programs. */
  get #root(): string {
    if (this.#known !== undefined) return this.#known;
    const place = `${this.#cache.id} ${realpathSync(this.#cache.directory)}`;
    this.#known = join(ownRoot, createHash("sha256").update(place).digest("hex").slice(0, 16));
    return this.#known;
  }

  directoryOf(loadId: string): LoadDirectory {
    return new LoadDirectory(join(this.#root, loadId));
  }

  /** The loads that a directory is there for. */
  loadIds(): readonly string[] {
    return namesIn(this.#root).filter((name) => /^[0-9a-f]{32}$/.test(name));
  }
}

/** Throws USAGE when nothing can be pinned. */
export function requireBpffs(): void {
  if (!isOnBpffs(bpffs)) throw notBpffs(bpffs);
}

/** Where `--pin` may be: nothing is there yet, so that all that will be is this load's. Throws USAGE. */
export function requireFree(path: string): void {
  if (!path.startsWith("/")) throw new BpfcacheError("USAGE", `${path} is not an absolute path`);
  if (existsSync(path)) {
    throw new BpfcacheError("USAGE", `${path} exists already`, {
      hint: "Pins go into a directory of their own, which is made for them: name one that is not there.",
    });
  }
}

/** libbpf's `sanitize_pin_path`: a dot would hide a file of bpffs. */
function pinName(map: string): string {
  return map.replaceAll(".", "_");
}

function isOnBpffs(path: string): boolean {
  try {
    return statfsSync(path).type === bpffsMagic;
  } catch {
    return false;
  }
}

function notBpffs(path: string): BpfcacheError {
  return new BpfcacheError("USAGE", `${path} is not on a BPF file system, so nothing can be pinned there`, {
    hint: `Mount one: mount -t bpf bpf ${bpffs}`,
  });
}

function notMade(path: string, cause: unknown): BpfcacheError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new BpfcacheError("USAGE", `the directory ${path} cannot be made: ${reason}`, {
    cause,
    hint: "Pinning needs root and a directory on a BPF file system.",
  });
}
