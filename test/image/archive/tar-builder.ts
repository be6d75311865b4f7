import { gzipSync } from "node:zlib";

export interface EntryOptions {
  /** One character; "0" (a file) unless told. */
  readonly type?: string;
  /** What the header says, when it is to differ from the length of the contents. */
  readonly size?: number;
  readonly linkName?: string;
}

/** One entry with its padding, in ustar format, byte for byte as told: hostile archives are built of these. */
export function entry(name: string, contents: string | Uint8Array = "", options: EntryOptions = {}): Buffer {
  const body = Buffer.from(contents);
  const header = Buffer.alloc(512);
  header.write(name, 0, 100, "utf8");
  header.write("0000644\0", 100);
  header.write("0000000\0", 108);
  header.write("0000000\0", 116);
  header.write(`${(options.size ?? body.length).toString(8).padStart(11, "0")}\0`, 124);
  header.write("00000000000\0", 136);
  header.write(options.type ?? "0", 156, "latin1");
  header.write(options.linkName ?? "", 157, 100, "utf8");
  header.write("ustar\0", 257, "latin1");
  header.write("00", 263);
  return Buffer.concat([withChecksum(header), body, padding(body.length)]);
}

/** Writes the right checksum into a header block, after a test has changed something else in it. */
export function withChecksum(header: Buffer): Buffer {
  header.fill(" ", 148, 156);
  const sum = header.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return header;
}

function padding(length: number): Buffer {
  return Buffer.alloc((512 - (length % 512)) % 512);
}

export const endMarker = Buffer.alloc(1024);

/** A whole archive: the entries and the end marker. */
export function tar(...entries: readonly Uint8Array[]): Buffer {
  return Buffer.concat([...entries, endMarker]);
}

export function tarGz(...entries: readonly Uint8Array[]): Buffer {
  return gzipSync(tar(...entries));
}

/** The records of a pax header: `[["path", "a/b"]]` becomes "12 path=a/b\n". */
export function paxRecords(records: readonly (readonly [key: string, value: string])[]): Buffer {
  return Buffer.concat(
    records.map(([key, value]) => {
      const rest = ` ${key}=${value}\n`;
      let length = Buffer.byteLength(rest) + 1;
      while (String(length).length + Buffer.byteLength(rest) !== length) length++;
      return Buffer.from(`${length}${rest}`);
    }),
  );
}

/** A pax header for the next entry, or with type "g" for all of them. */
export function pax(records: readonly (readonly [key: string, value: string])[], type = "x"): Buffer {
  return entry("PaxHeader", paxRecords(records), { type });
}

/** A GNU long name for the next entry. */
export function gnuLongName(name: string): Buffer {
  return entry("././@LongLink", `${name}\0`, { type: "L" });
}
