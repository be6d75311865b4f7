import { gzipSync } from "node:zlib";

export interface TarEntry {
  readonly path: string;
  readonly bytes?: Uint8Array;
  readonly type?: keyof typeof typeFlags;
  /** What a link points at. */
  readonly target?: string;
  readonly mode?: number;
  /** A size for the header that need not be true. */
  readonly size?: number;
}

export interface TarOptions {
  /** Leave out the two zero blocks that end an archive. */
  readonly endMarker?: boolean;
  /** Bytes after the end marker. */
  readonly trailing?: Uint8Array;
}

// POSIX.1-1988 (ustar) type flags; x and g are pax headers.
const typeFlags = {
  file: "0",
  hardlink: "1",
  symlink: "2",
  "character-device": "3",
  "block-device": "4",
  directory: "5",
  fifo: "6",
  pax: "x",
  "global-pax": "g",
} as const;

const block = 512;

/**
 * A tar archive with exactly these entries: nothing is normalised, so hostile paths, types and sizes arrive as
 * written. A path over 100 bytes gets a pax header in front. The same entries always give the same bytes.
 */
export function tarOf(entries: readonly TarEntry[], options: TarOptions = {}): Buffer {
  const parts = entries.flatMap(memberOf);
  if (options.endMarker ?? true) parts.push(Buffer.alloc(2 * block));
  if (options.trailing !== undefined) parts.push(Buffer.from(options.trailing));
  return Buffer.concat(parts);
}

function memberOf(entry: TarEntry): Buffer[] {
  const path = Buffer.from(entry.path);
  const bytes = Buffer.from(entry.bytes ?? []);
  const content = [
    header(entry, bytes.byteLength),
    bytes,
    Buffer.alloc((block - (bytes.length % block)) % block),
  ];
  return path.byteLength > 100 ? [...memberOf(longPath(entry.path)), ...content] : content;
}

function longPath(path: string): TarEntry {
  return { path: "PaxHeader/path", type: "pax", bytes: paxRecord("path", path) };
}

/** One `length key=value\n` record of a pax header, for entries of type `pax`. */
export function paxRecord(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`;
  let length = Buffer.byteLength(rest) + 1;
  while (Buffer.byteLength(`${length}${rest}`) !== length) length++;
  return Buffer.from(`${length}${rest}`);
}

function header({ path, type = "file", target = "", mode, size }: TarEntry, bodySize: number): Buffer {
  const bytes = Buffer.alloc(block);
  bytes.write(path, 0, 100, "utf8");
  octal(bytes, mode ?? (type === "directory" ? 0o755 : 0o644), 100, 8);
  octal(bytes, 0, 108, 8); // uid
  octal(bytes, 0, 116, 8); // gid
  octal(bytes, size ?? bodySize, 124, 12);
  octal(bytes, 0, 136, 12); // mtime
  bytes.fill(" ", 148, 156); // the checksum is taken over spaces
  bytes.write(typeFlags[type], 156);
  bytes.write(target, 157, 100, "utf8");
  bytes.write("ustar\0" + "00", 257);
  const checksum = bytes.reduce((sum, byte) => sum + byte, 0);
  bytes.write(`${checksum.toString(8).padStart(6, "0")}\0 `, 148);
  return bytes;
}

function octal(bytes: Buffer, value: number, offset: number, length: number): void {
  bytes.write(`${value.toString(8).padStart(length - 1, "0")}\0`, offset);
}

/** Gzip without a time or a host system in its header, so that equal input gives equal bytes and digests. */
export function gzip(bytes: Uint8Array): Buffer {
  const compressed = gzipSync(bytes, { level: 9 });
  compressed[9] = 255; // RFC 1952 OS: unknown
  return compressed;
}
