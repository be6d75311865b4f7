import type { Limits } from "../../core/limits.js";
import { checkPaxRecords } from "./pax.js";
import { refusal } from "./refusal.js";
import { parseTarHeader, type TarHeader, tarBlockBytes } from "./tar-header.js";

/** One pax or long-name body; Go's archive/tar has the same cap (maxSpecialFileSize). */
const maxMetadataBytes = 1024 * 1024;

const zeroBlock = Buffer.alloc(tarBlockBytes);

const refusedTypes: Readonly<Record<string, string>> = {
  "1": "a hard link",
  "2": "a symbolic link",
  "3": "a character device",
  "4": "a block device",
  "6": "a fifo",
  "7": "a contiguous file",
  S: "a sparse file",
};

type Announcement = "pax header" | "name" | "link name";

/**
 * Walks the block structure of a tar archive beside tar-stream, and must see each chunk first. tar-stream only parses:
 * it goes on after the end marker, accepts a missing one, reads a directory's body as headers, and believes a
 * pax size (measured on 3.2.2). GNU tar, Go and Python each differ there; what they would read differently
 * is refused here.
 */
export class TarFraming {
  readonly #limits: Limits;
  readonly #block = Buffer.alloc(tarBlockBytes);
  #blockFilled = 0;
  #bodyLeft = 0;
  #metadata: MetadataBody | undefined;
  /** What the headers since the last entry say about the next one. */
  readonly #announced = new Set<Announcement>();
  #zeroBlocks = 0;
  #entries = 0;

  constructor(limits: Limits) {
    this.#limits = limits;
  }

  /** Throws INVALID_IMAGE. */
  update(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.byteLength) {
      const rest = chunk.subarray(at);
      at += this.#bodyLeft > 0 ? this.#takeBody(rest) : this.#takeBlock(rest);
    }
  }

  /** Call it once, when the archive has ended. Throws INVALID_IMAGE. */
  finish(): void {
    if (this.#bodyLeft > 0 || this.#blockFilled > 0) throw refusal("its tar archive is cut short");
    if (this.#zeroBlocks === 0) throw refusal("its tar archive has no end marker");
    if (this.#zeroBlocks === 1) throw refusal("its tar archive has half an end marker: one zero block");
  }

  #takeBlock(bytes: Uint8Array): number {
    const taken = Math.min(bytes.byteLength, tarBlockBytes - this.#blockFilled);
    this.#block.set(bytes.subarray(0, taken), this.#blockFilled);
    this.#blockFilled += taken;
    if (this.#blockFilled === tarBlockBytes) {
      this.#blockFilled = 0;
      this.#readBlock(this.#block);
    }
    return taken;
  }

  #takeBody(bytes: Uint8Array): number {
    const taken = Math.min(bytes.byteLength, this.#bodyLeft);
    this.#bodyLeft -= taken;
    this.#metadata?.append(bytes.subarray(0, taken));
    if (this.#bodyLeft === 0) this.#finishMetadata();
    return taken;
  }

  #readBlock(block: Buffer): void {
    if (block.equals(zeroBlock)) {
      if (this.#announced.size > 0) throw refusal("a tar header announces an entry that does not come");
      this.#zeroBlocks++;
      return;
    }
    if (this.#zeroBlocks === 1) throw refusal("a single zero block is followed by data");
    if (this.#zeroBlocks > 1) throw refusal("there is data after the end marker of the tar archive");
    this.#readHeader(parseTarHeader(block));
  }

  #readHeader(header: TarHeader): void {
    if (header.size > this.#limits.inflatedBytes) throw refusal(`${quoted(header)} is too big`);
    this.#bodyLeft = Math.ceil(header.size / tarBlockBytes) * tarBlockBytes;
    switch (header.type) {
      case "0":
      case "5":
        this.#countEntry();
        if (header.type === "5" && header.size > 0) {
          throw refusal(`the directory ${quoted(header)} has contents of its own`);
        }
        break;
      case "g":
        if (this.#announced.size > 0)
          throw refusal("a global pax header comes between an entry and its headers");
        this.#countEntry();
        this.#beginMetadata(header, (body) => void checkPaxRecords(body, true));
        break;
      case "x":
        this.#announce("pax header");
        this.#beginMetadata(header, (body) => {
          if (checkPaxRecords(body, false).path !== undefined) this.#announce("name");
        });
        break;
      case "L":
      case "K":
        this.#announce(header.type === "L" ? "name" : "link name");
        this.#beginMetadata(header, checkLongName);
        break;
      default:
        throw refusal(`${quoted(header)} is ${refusedTypes[header.type] ?? "of an unknown type"}`);
    }
  }

  #countEntry(): void {
    this.#announced.clear();
    this.#entries++;
    if (this.#entries > this.#limits.tarEntries) {
      throw refusal(`it has more than ${this.#limits.tarEntries} entries`);
    }
  }

  /** Which of two announcements wins is not the same in any two readers. */
  #announce(what: Announcement): void {
    if (this.#announced.has(what)) throw refusal(`two tar headers give one entry a ${what}`);
    this.#announced.add(what);
  }

  #beginMetadata(header: TarHeader, check: (body: Uint8Array) => void): void {
    if (header.size > maxMetadataBytes) throw refusal("a tar header's own data is over 1 MiB");
    this.#metadata = new MetadataBody(header.size, this.#bodyLeft, check);
    if (header.size === 0) this.#finishMetadata();
  }

  #finishMetadata(): void {
    const metadata = this.#metadata;
    this.#metadata = undefined;
    metadata?.finish();
  }
}

/** Gathers the body of a pax or long-name header, to be checked when it is whole. */
class MetadataBody {
  readonly #bytes: Uint8Array;
  #filled = 0;

  constructor(
    readonly size: number,
    paddedSize: number,
    readonly check: (body: Uint8Array) => void,
  ) {
    this.#bytes = new Uint8Array(paddedSize);
  }

  append(part: Uint8Array): void {
    this.#bytes.set(part, this.#filled);
    this.#filled += part.byteLength;
  }

  finish(): void {
    // Python's tarfile reads into the padding and would find more there.
    if (this.#bytes.subarray(this.size).some((byte) => byte !== 0)) {
      throw refusal("there is something behind a tar header's own data");
    }
    this.check(this.#bytes.subarray(0, this.size));
  }
}

/** Where a name does not end itself, readers differ in where they end it. */
function checkLongName(body: Uint8Array): void {
  if (body.indexOf(0) !== body.byteLength - 1 || body.byteLength < 2) {
    throw refusal("a GNU long name is empty or does not end with NUL");
  }
}

function quoted(header: TarHeader): string {
  return JSON.stringify(header.shortName);
}
