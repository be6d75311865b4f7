// POSIX.1-1988 (ustar), with a pax record (POSIX.1-2001) for a path that does not fit. Owner, times and modes are
// fixed, so that the same files always give the same bytes.

const blockBytes = 512;
const maxNameBytes = 100;

/** What ends an archive. */
export const endOfArchive: Buffer = Buffer.alloc(2 * blockBytes);

/** What stands in an archive before the bytes of a regular file, and after them. */
export function tarMember(path: string, bytes: number): { readonly before: Buffer; readonly after: Buffer } {
  const name = Buffer.from(path);
  const after = Buffer.alloc(padding(bytes));
  if (name.length <= maxNameBytes) return { before: header(name, "0", bytes), after };
  const record = paxRecord("path", path);
  const short = name.subarray(0, maxNameBytes);
  const before = Buffer.concat([
    header(Buffer.from("PaxHeader"), "x", record.length),
    record,
    Buffer.alloc(padding(record.length)),
    header(short, "0", bytes),
  ]);
  return { before, after };
}

function padding(bytes: number): number {
  return (blockBytes - (bytes % blockBytes)) % blockBytes;
}

function header(name: Buffer, type: "0" | "x", bytes: number): Buffer {
  const block = Buffer.alloc(blockBytes);
  name.copy(block);
  octal(block, 0o644, 100, 8); // mode
  octal(block, 0, 108, 8); // uid
  octal(block, 0, 116, 8); // gid
  octal(block, bytes, 124, 12);
  octal(block, 0, 136, 12); // mtime
  block.fill(" ", 148, 156); // The checksum is taken over spaces.
  block.write(type, 156, "latin1");
  block.write("ustar\u000000", 257, "latin1");
  octal(
    block,
    block.reduce((sum, byte) => sum + byte, 0),
    148,
    8,
  );
  return block;
}

function octal(block: Buffer, value: number, at: number, width: number): void {
  block.write(`${value.toString(8).padStart(width - 1, "0")}\0`, at, "latin1");
}

/** `length key=value\n`, where the length counts itself. */
function paxRecord(key: string, value: string): Buffer {
  const rest = ` ${key}=${value}\n`;
  let length = Buffer.byteLength(rest);
  while (Buffer.byteLength(`${length}${rest}`) !== length) length++;
  return Buffer.from(`${length}${rest}`);
}
