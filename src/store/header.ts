import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { blockFor } from "../core/block-for.js";
import { BpfcacheError, codeOf } from "../core/errors.js";
import { branchPage, kindOf, leafPage, maxDepth, readTreeNote, type TreeNote } from "./tree-pages.js";

/** Of the databases that are made here; others may have been made with another size. */
export const pageBytes = 4096;

const headerBytes = 64 * 1024;
const magic = 0xbeefc0de;
const dataVersion = 2;
const metaPageFlag = 0x08;
const integerKeyFlag = 0x08;
const noPage = -1;

/**
 * What the header says of a data file. `short`: the newest state counts more pages than the file has. That is what
 * truncation looks like, but also what LMDB leaves when pages were allocated at the end and freed again in one
 * transaction: they are never written. Only walking the trees tells the two apart, see `probe`.
 */
export type HeaderFinding = "sound" | "short";

/** A writer may be in the middle of a change: only a fault that stays is one. */
const looks = 5;
const pauseMs = 20;

/**
 * Checks what LMDB itself trusts blindly: opening a truncated or overwritten data.mdb kills the process (SIGSEGV,
 * SIGBUS), and no exception handler sees it. Throws CACHE_CORRUPT for a file that must not be opened.
 *
 * A missing file is sound. The layout is that of lmdb-js's LMDB with data version 2 on 64-bit little-endian hosts (mdb.c,
 * MDB_page, MDB_meta and MDB_db).
 */
export function checkDataFile(path: string): HeaderFinding {
  for (let look = 1; ; look++) {
    const found = inspect(path);
    if (typeof found === "string") return found;
    if (look === looks) throw damaged(path, found.fault);
    blockFor(pauseMs);
  }
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
    return inspectHeader(file, stat.size);
  } finally {
    closeSync(file);
  }
}

/** In the order that they have in a meta page. What LMDB counts of its free pages decides nothing. */
const treesOfMeta = [
  { at: 48, name: "free pages", flags: integerKeyFlag, isCounted: false },
  { at: 96, name: "the trees", flags: 0, isCounted: true },
] as const;

interface Meta {
  readonly transaction: bigint;
  readonly lastPage: bigint;
  readonly page: Buffer;
}

function inspectHeader(file: number, fileSize: number): HeaderFinding | Fault {
  const header = readAt(file, 0, Math.min(headerBytes, fileSize));
  if (header.length < 512) return { fault: "it is too short to be a database" };
  const pageSize = header.readUInt32LE(48);
  if (pageSize < 512 || pageSize > 32_768 || (pageSize & (pageSize - 1)) !== 0) {
    return { fault: "its page size is impossible" };
  }
  if (fileSize < 2 * pageSize) return { fault: "it is shorter than its two meta pages" };
  const [first, second] = [readMeta(header, 0n, pageSize), readMeta(header, 1n, pageSize)];
  if ("fault" in first) return first;
  if ("fault" in second) return second;
  const [older, newest] = second.transaction > first.transaction ? [first, second] : [second, first];
  // Of a compact copy one is numbered 0.
  if (older.transaction !== 0n && newest.transaction - older.transaction > 1n)
    return { fault: "its meta pages are too far apart" };
  if ((newest.lastPage + 1n) * BigInt(pageSize) > BigInt(fileSize)) return "short";
  // What the older one says of its trees is not looked at: when a meta page cannot be written, LMDB gives it its former
  // number back, and leaves the rest.
  for (const tree of treesOfMeta) {
    const note = readTreeNote(newest.page.subarray(tree.at));
    if (!isPossible(note, newest, tree)) return { fault: `what it says of ${tree.name} is impossible` };
    if (note.depth > 0 && !isRoot(readAt(file, note.root * pageSize, 24), note))
      return { fault: "the root of a tree is not one" };
  }
  return "sound";
}

/** Transactions take turns with the two pages: the second has the odd ones. */
function readMeta(header: Buffer, turn: 0n | 1n, pageSize: number): Meta | Fault {
  const page = header.subarray(Number(turn) * pageSize);
  if ((page.readUInt16LE(18) & metaPageFlag) === 0) return { fault: "a meta page is not marked as one" };
  if (page.readUInt32LE(24) !== magic) return { fault: "it does not have LMDB's magic number" };
  if ((page.readUInt32LE(28) & 0xffff) !== dataVersion)
    return { fault: "its LMDB format version is unknown" };
  if (page.readUInt32LE(48) !== pageSize) return { fault: "its page size is impossible" };
  const lastPage = page.readBigUInt64LE(144);
  const transaction = page.readBigUInt64LE(152);
  const isPossible =
    transaction === 0n || (transaction % 2n === turn && transaction <= Number.MAX_SAFE_INTEGER);
  if (!isPossible) return { fault: "the number of its newest transaction is impossible" };
  return { lastPage, transaction, page };
}

/** Of a page of the largest size: each takes its place among the others' and eight bytes more. */
const maxEntries = 4_096;

function isPossible(
  { depth, branchPages, leafPages, overflowPages, entries, root }: TreeNote,
  { lastPage, page }: Meta,
  { at, flags, isCounted }: (typeof treesOfMeta)[number],
): boolean {
  const pages = branchPages + leafPages + overflowPages;
  const isEmpty = root === noPage;
  return (
    (page.readUInt16LE(at + 4) & 0xff) === flags &&
    isEmpty === (depth === 0) &&
    depth <= maxDepth &&
    (isEmpty || (root > 1 && root <= lastPage)) &&
    (!isCounted || (pages <= lastPage && entries <= pages * maxEntries))
  );
}

/** A tree of one page is a leaf. */
function isRoot(bytes: Buffer, { root, depth }: TreeNote): boolean {
  const [lower, upper] = [bytes.readUInt16LE(20), bytes.readUInt16LE(22)];
  const kind = depth === 1 ? leafPage : branchPage;
  return bytes.readBigUInt64LE(0) === BigInt(root) && kindOf(bytes) === kind && lower <= upper;
}

function readAt(file: number, position: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  return buffer.subarray(0, readSync(file, buffer, 0, bytes, position));
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
    page.writeBigInt64LE(BigInt(noPage), 88); // Its root, and that of the tree of trees.
    page.writeBigInt64LE(BigInt(noPage), 136);
    page.writeBigUInt64LE(1n, 144); // The last page in use.
  }
  return pages;
}
