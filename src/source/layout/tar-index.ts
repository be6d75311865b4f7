import type { FileHandle } from "node:fs/promises";
import { throwIfAborted } from "../../core/errors.js";
import { normalizeEntryPath } from "../../image/archive/entry-path.js";
import { checkPaxRecords } from "../../image/archive/pax.js";
import { refusal } from "../../image/archive/refusal.js";
import { parseTarHeader, type TarHeader, tarBlockBytes } from "../../image/archive/tar-header.js";

/** One pax or long-name body; Go's archive/tar has the same cap (maxSpecialFileSize). */
const maxMetadataBytes = 1024 * 1024;

const windowBytes = 64 * 1024;

/** Where a file's bytes are in the archive. */
export interface TarFile {
  readonly offset: number;
  readonly size: number;
}

export interface TarIndex {
  readonly files: ReadonlyMap<string, TarFile>;
  /** Symbolic links and what they say; Docker's older archives have some. */
  readonly links: ReadonlyMap<string, string>;
}

export interface IndexOptions {
  readonly maxEntries: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Finds the files of a tar archive by its headers; the bodies are passed over. As strict as the reading of layers
 * (image/archive/tar-framing.ts): what two readers would see differently is refused. Throws INVALID_IMAGE.
 */
export async function indexTar(file: FileHandle, options: IndexOptions): Promise<TarIndex> {
  return new Indexer(new Window(file, (await file.stat()).size), options).run();
}

class Indexer {
  readonly #window: Window;
  readonly #options: IndexOptions;
  readonly #files = new Map<string, TarFile>();
  readonly #links = new Map<string, string>();
  /** What the headers since the last entry say about the next one. */
  #names: { path?: string; linkPath?: string } = {};
  #announced = new Set<string>();
  #entries = 0;

  constructor(window: Window, options: IndexOptions) {
    this.#window = window;
    this.#options = options;
  }

  async run(): Promise<TarIndex> {
    for (let at = 0; ; ) {
      throwIfAborted(this.#options.signal);
      if (at === this.#window.size) throw refusal("its tar archive has no end marker");
      const block = await this.#window.bytes(at, tarBlockBytes);
      if (isZero(block)) {
        if (this.#announced.size > 0) throw refusal("a tar header announces an entry that does not come");
        await this.#checkEnd(at);
        return { files: this.#files, links: this.#links };
      }
      const header = parseTarHeader(block);
      const body = at + tarBlockBytes;
      at = body + Math.ceil(header.size / tarBlockBytes) * tarBlockBytes;
      if (at > this.#window.size) throw refusal("its tar archive is cut short");
      await this.#take(header, body);
    }
  }

  async #take(header: TarHeader, body: number): Promise<void> {
    switch (header.type) {
      case "0":
        return this.#addFile(header, body);
      case "2":
        return this.#addLink(header);
      case "5":
        if (header.size > 0) throw refusal(`the directory ${quoted(header)} has contents of its own`);
        normalizeEntryPath(this.#beginEntry(header).path);
        return;
      case "g":
        if (this.#announced.size > 0)
          throw refusal("a global pax header comes between an entry and its headers");
        this.#countEntry();
        checkPaxRecords(await this.#metadata(header, body), true);
        return;
      case "x":
        return this.#takePax(checkPaxRecords(await this.#metadata(header, body), false));
      case "L":
        this.#announce("name");
        this.#names.path = longName(await this.#metadata(header, body));
        return;
      case "K":
        this.#announce("link name");
        this.#names.linkPath = longName(await this.#metadata(header, body));
        return;
      case "1":
        throw refusal(
          `${quoted(header)} is a hard link; write the archive without, as tar --hard-dereference does`,
        );
      default:
        throw refusal(`${quoted(header)} is neither a regular file nor a directory`);
    }
  }

  #addFile(header: TarHeader, offset: number): void {
    const { path } = this.#beginEntry(header);
    const name = normalizeEntryPath(path);
    if (name === "" || path.endsWith("/")) throw refusal(`${quoted(header)} is not a regular file`);
    this.#requireNew(name);
    this.#files.set(name, { offset, size: header.size });
  }

  #addLink(header: TarHeader): void {
    if (header.size > 0) throw refusal(`the link ${quoted(header)} has contents of its own`);
    const { path, linkPath } = this.#beginEntry(header);
    const name = normalizeEntryPath(path);
    this.#requireNew(name);
    this.#links.set(name, linkPath);
  }

  #requireNew(name: string): void {
    if (this.#files.has(name) || this.#links.has(name)) {
      throw refusal(`two entries are named ${JSON.stringify(name)}`);
    }
  }

  /** The names of the entry that has come now, from its own header or from those before. */
  #beginEntry(header: TarHeader): { readonly path: string; readonly linkPath: string } {
    const { path = header.name, linkPath = header.linkName } = this.#names;
    this.#countEntry();
    return { path, linkPath };
  }

  #countEntry(): void {
    this.#names = {};
    this.#announced = new Set();
    this.#entries++;
    const { maxEntries } = this.#options;
    if (this.#entries > maxEntries) throw refusal(`it has more than ${maxEntries} entries`);
  }

  #takePax({ path, linkPath }: ReturnType<typeof checkPaxRecords>): void {
    this.#announce("pax header");
    if (path !== undefined) {
      this.#announce("name");
      this.#names.path = path;
    }
    if (linkPath !== undefined) {
      this.#announce("link name");
      this.#names.linkPath = linkPath;
    }
  }

  /** Which of two announcements wins is not the same in any two readers. */
  #announce(what: string): void {
    if (this.#announced.has(what)) throw refusal(`two tar headers give one entry a ${what}`);
    this.#announced.add(what);
  }

  async #metadata({ size }: TarHeader, body: number): Promise<Buffer> {
    if (size > maxMetadataBytes) throw refusal("a tar header's own data is over 1 MiB");
    const padded = await this.#window.bytes(body, Math.ceil(size / tarBlockBytes) * tarBlockBytes);
    // Python's tarfile reads into the padding and would find more there.
    if (!isZero(padded.subarray(size))) throw refusal("there is something behind a tar header's own data");
    return padded.subarray(0, size);
  }

  /** Two zero blocks end an archive, and nothing but zeros, which pad it, comes after. */
  async #checkEnd(at: number): Promise<void> {
    const { size } = this.#window;
    if (at + 2 * tarBlockBytes > size)
      throw refusal("its tar archive has half an end marker: one zero block");
    for (let rest = at; rest < size; rest += windowBytes) {
      throwIfAborted(this.#options.signal);
      if (!isZero(await this.#window.bytes(rest, Math.min(windowBytes, size - rest)))) {
        throw refusal("there is data after the end marker of the tar archive");
      }
    }
  }
}

/** Reads a file in pieces, so that headers close to each other cost one call. */
class Window {
  #bytes: Buffer = Buffer.alloc(0);
  #start = 0;

  constructor(
    readonly file: FileHandle,
    readonly size: number,
  ) {}

  /** Valid until the next call. */
  async bytes(at: number, length: number): Promise<Buffer> {
    if (at + length > this.size) throw refusal("its tar archive is cut short");
    const isHeld = at >= this.#start && at + length <= this.#start + this.#bytes.length;
    if (!isHeld) await this.#move(at, Math.max(length, windowBytes));
    return this.#bytes.subarray(at - this.#start, at - this.#start + length);
  }

  async #move(at: number, wanted: number): Promise<void> {
    const length = Math.min(wanted, this.size - at);
    const buffer = Buffer.allocUnsafe(length);
    for (let filled = 0; filled < length; ) {
      const { bytesRead } = await this.file.read(buffer, filled, length - filled, at + filled);
      if (bytesRead === 0) throw refusal("its tar archive is cut short");
      filled += bytesRead;
    }
    this.#bytes = buffer;
    this.#start = at;
  }
}

/** Where a name does not end itself, readers differ in where they end it. */
function longName(body: Buffer): string {
  if (body.indexOf(0) !== body.byteLength - 1 || body.byteLength < 2) {
    throw refusal("a GNU long name is empty or does not end with NUL");
  }
  return body.subarray(0, -1).toString("utf8");
}

const zeros = Buffer.alloc(windowBytes);

function isZero(bytes: Uint8Array): boolean {
  return zeros.subarray(0, bytes.byteLength).equals(bytes);
}

function quoted(header: TarHeader): string {
  return JSON.stringify(header.shortName);
}
