import { type FileHandle, open, rm } from "node:fs/promises";
import type { Writable } from "node:stream";
import { setImmediate } from "node:timers/promises";
import { BpfcacheError } from "../core/errors.js";
import type { BundleSink } from "./bundle-sink.js";
import { endOfArchive, tarMember } from "./tar-member.js";
import { moveIntoPlace, requireWritable, temporaryNameFor } from "./target.js";

/** A bundle as a tar file. */
export class TarFileSink implements BundleSink {
  readonly #path: string;
  readonly #mayOverwrite: boolean;
  readonly #temporary: string;
  #file: FileHandle | undefined;

  /** Throws USAGE when something is at `path` that may not be replaced. */
  constructor(path: string, mayOverwrite: boolean) {
    requireWritable(path, "file", mayOverwrite);
    this.#path = path;
    this.#mayOverwrite = mayOverwrite;
    this.#temporary = temporaryNameFor(path);
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    this.#file ??= await open(this.#temporary, "wx", 0o644);
    const { before, after } = tarMember(path, bytes.byteLength);
    await writeAll(this.#file, [before, bytes, after]);
  }

  async commit(): Promise<void> {
    this.#file ??= await open(this.#temporary, "wx", 0o644);
    await writeAll(this.#file, [endOfArchive]);
    await this.#file.sync();
    await this.#close();
    requireWritable(this.#path, "file", this.#mayOverwrite);
    await moveIntoPlace(this.#temporary, this.#path);
  }

  async abandon(): Promise<void> {
    await this.#close();
    await rm(this.#temporary, { force: true });
  }

  async #close(): Promise<void> {
    const file = this.#file;
    this.#file = undefined;
    await file?.close();
  }
}

async function writeAll(file: FileHandle, parts: readonly Uint8Array[]): Promise<void> {
  // In one go, as most files are small; writeFile goes on where the disk took less than it was given.
  await file.writeFile(Buffer.concat(parts));
}

/** What a pipe of Linux holds. */
const pieceBytes = 64 * 1_024;

/** A bundle as a tar archive into somebody else's stream, which stays open: what has gone into it cannot be taken back. */
export class TarStreamSink implements BundleSink {
  readonly #stream: Writable;

  constructor(stream: Writable) {
    this.#stream = stream;
    // Every failure is told to the write it befell; as an event with no listener it would end the process.
    stream.on("error", ignore);
  }

  async write(path: string, bytes: Uint8Array): Promise<void> {
    const { before, after } = tarMember(path, bytes.byteLength);
    await this.#take(before);
    for (let at = 0; at < bytes.byteLength; at += pieceBytes) {
      await this.#take(bytes.subarray(at, at + pieceBytes));
      // A pipe is written to synchronously, however slowly it is read: an interrupt or a display has its turn here.
      await setImmediate();
    }
    await this.#take(after);
  }

  async commit(): Promise<void> {
    await this.#take(endOfArchive);
    this.#stream.off("error", ignore);
  }

  async abandon(): Promise<void> {
    // The listener stays: a stream may report an error after the write that failed.
  }

  /** Fulfilled when the stream has passed the bytes on, so that they do not pile up in it. */
  async #take(bytes: Uint8Array): Promise<void> {
    if (bytes.byteLength === 0) return;
    await new Promise<void>((resolve, reject) => {
      this.#stream.write(bytes, (error) => {
        if (error) reject(notTaken(error));
        else resolve();
      });
    });
  }
}

function ignore(): void {}

function notTaken(cause: Error): BpfcacheError {
  return new BpfcacheError("USAGE", `the archive was not taken to its end: ${cause.message}`, { cause });
}
