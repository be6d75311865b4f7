import type { Header } from "tar-stream";
import type { Limits } from "../../core/limits.js";
import { normalizeEntryPath } from "./entry-path.js";
import { refusal } from "./refusal.js";

export interface LayerFile {
  /** Relative to the layer's root, with forward slashes and without `./`. */
  readonly path: string;
  readonly size: number;
  /** Only of the files that `keep` chose. */
  readonly bytes: Uint8Array | undefined;
}

/** Decides by a file's path and its first bytes, up to 64 (fewer when the file is shorter), whether its contents are wanted. */
export type KeepFile = (path: string, head: Uint8Array) => boolean;

const headBytes = 64;

/** Takes the entries of an archive one after another, and holds the contents of wanted files only. */
export class FileCollector {
  readonly files: LayerFile[] = [];
  readonly #paths = new Set<string>();

  constructor(
    readonly limits: Limits,
    readonly keep: KeepFile,
  ) {}

  /** What takes the contents of the next entry; `undefined` for a directory. Throws INVALID_IMAGE. */
  begin(header: Header): FileContents | undefined {
    const path = normalizeEntryPath(header.name);
    if (header.type === "directory") return undefined;
    // A directory to GNU tar and Go, but a file to Python.
    const looksLikeDirectory = path === "" || header.name.endsWith("/");
    if (header.type !== "file" || looksLikeDirectory) {
      throw refusal(`${JSON.stringify(header.name)} is not a regular file`);
    }
    if (this.#paths.has(path)) throw refusal(`two entries are named ${JSON.stringify(path)}`);
    this.#paths.add(path);
    return new FileContents(path, header.size, this);
  }
}

/** The contents of one file as they come. The first bytes decide whether the rest is held. */
export class FileContents {
  readonly #head = new Uint8Array(headBytes);
  #received = 0;
  #bytes: Uint8Array | undefined;

  constructor(
    readonly path: string,
    readonly size: number,
    readonly collector: FileCollector,
  ) {}

  /** Throws INVALID_IMAGE when the file is wanted and too big. */
  append(chunk: Uint8Array): void {
    const start = this.#received;
    this.#received += chunk.byteLength;
    const headLength = Math.min(headBytes, this.size);
    if (start < headLength) {
      this.#head.set(chunk.subarray(0, headLength - start), start);
      if (this.#received >= headLength) this.#decide(headLength);
    }
    this.#bytes?.set(chunk, start);
  }

  finish(): void {
    if (this.size === 0) this.#decide(0);
    this.collector.files.push({ path: this.path, size: this.size, bytes: this.#bytes });
  }

  #decide(headLength: number): void {
    const head = this.#head.subarray(0, headLength);
    if (!this.collector.keep(this.path, head)) return;
    const { objectBytes } = this.collector.limits;
    if (this.size > objectBytes) {
      throw refusal(`${JSON.stringify(this.path)} is larger than ${objectBytes} bytes`);
    }
    this.#bytes = new Uint8Array(this.size);
    this.#bytes.set(head);
  }
}
