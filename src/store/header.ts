import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { BpfcacheError, codeOf } from "../core/errors.js";

/** Of the databases that are made here; others may have been made with another size. */
export const pageBytes = 4096;

const headerBytes = 64 * 1024;
const magic = 0xbeefc0de;
const dataVersion = 2;
const metaPageFlag = 0x08;
const integerKeyFlag = 0x08;
const noPage = -1n;

/**
 * What the header says of a data file. `short`: the newest state counts more pages than the file has. That is what
 * truncation looks like, but also what LMDB leaves when pages were allocated at the end and freed again in one
 * transaction: they are never written. Only walking the trees tells the two apart, see `probe`.
 */
export type HeaderFinding = "sound" | "short";

/**
 * Checks what LMDB itself trusts blindly: opening a truncated or overwritten data.mdb kills the process (SIGSEGV,
 * SIGBUS), and no exception handler sees it. Throws CACHE_CORRUPT for a file that must not be opened.
 *
 * A missing file is sound. The layout is that of lmdb-js's LMDB with data version 2 on 64-bit little-endian hosts (mdb.c, MDB_page and MDB_meta).
 */
export function checkDataFile(path: string): HeaderFinding {
  const first = inspect(path);
  if (first === "sound") return first;
  // A writer may have been in the middle of extending the file: only a fault that stays is one.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  const second = inspect(path);
  if (typeof second === "string") return second;
  throw damaged(path, second.fault);
}

/** What to do about damage: only a process that may write can. */
export const openForWriting =
  "Open it once for writing, with bpfcache prefetch for one: the damaged files are moved aside, and what was cached can be fetched again.";

/** @internal Also what a failed probe comes to. */
export function damaged(path: string, fault: string): BpfcacheError {
  return new BpfcacheError("CACHE_CORRUPT", `${path} is damaged: ${fault}`, {
    hint: openForWriting,
  });
}

interface Fault {
  readonly fault: string;
}

function inspect(path: string): HeaderFinding | Fault {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "sound";
    throw new BpfcacheError(
      "USAGE",
      `cannot read ${path}: ${error instanceof Error ? error.message : error}`,
      {
        cause: error,
        hint: "Run as the user or group that owns the cache directory.",
      },
    );
  }
  try {
    const stat = fstatSync(file);
    if (!stat.isFile()) return { fault: "it is not a regular file" };
    const header = Buffer.alloc(Math.min(headerBytes, stat.size));
    readSync(file, header, 0, header.length, 0);
    return inspectHeader(header, stat.size);
  } finally {
    closeSync(file);
  }
}

function inspectHeader(header: Buffer, fileSize: number): HeaderFinding | Fault {
  if (header.length < 512) return { fault: "it is too short to be a database" };
  const pageSize = header.readUInt32LE(48);
  if (pageSize < 512 || pageSize > 32_768 || (pageSize & (pageSize - 1)) !== 0) {
    return { fault: "its page size is impossible" };
  }
  if (fileSize < 2 * pageSize) return { fault: "it is shorter than its two meta pages" };
  const [first, second] = [readMeta(header, 0, 0n), readMeta(header, pageSize, 1n)];
  if ("fault" in first) return first;
  if ("fault" in second) return second;
  const newest = second.transaction > first.transaction ? second : first;
  return (newest.lastPage + 1n) * BigInt(pageSize) > BigInt(fileSize) ? "short" : "sound";
}

/** Transactions take turns with the two pages: the second has the odd ones. */
function readMeta(
  header: Buffer,
  offset: number,
  turn: 0n | 1n,
): { lastPage: bigint; transaction: bigint } | Fault {
  if ((header.readUInt16LE(offset + 18) & metaPageFlag) === 0)
    return { fault: "a meta page is not marked as one" };
  if (header.readUInt32LE(offset + 24) !== magic) return { fault: "it does not have LMDB's magic number" };
  if ((header.readUInt32LE(offset + 28) & 0xffff) !== dataVersion) {
    return { fault: "its LMDB format version is unknown" };
  }
  const lastPage = header.readBigUInt64LE(offset + 144);
  const transaction = header.readBigUInt64LE(offset + 152);
  const isPossible =
    transaction === 0n || (transaction % 2n === turn && transaction <= Number.MAX_SAFE_INTEGER);
  return isPossible
    ? { lastPage, transaction }
    : { fault: "the number of its newest transaction is impossible" };
}

/** What LMDB itself begins with: two meta pages, of which each says that there is nothing. */
export function emptyData(): Buffer {
  const pages = Buffer.alloc(2 * pageBytes);
  for (const number of [0, 1]) {
    const page = pages.subarray(number * pageBytes);
    page.writeBigUInt64LE(BigInt(number), 0);
    page.writeUInt16LE(metaPageFlag, 18);
    page.writeUInt32LE(magic, 24);
    page.writeUInt32LE(dataVersion, 28);
    page.writeUInt32LE(pageBytes, 48);
    page.writeUInt16LE(integerKeyFlag, 52); // Of the tree of free pages.
    page.writeBigInt64LE(noPage, 88); // Its root, and that of the tree of trees.
    page.writeBigInt64LE(noPage, 136);
    page.writeBigUInt64LE(1n, 144); // The last page in use.
  }
  return pages;
}
