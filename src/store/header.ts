import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { BpfcacheError } from "../core/errors.js";

const headerBytes = 64 * 1024;
const magic = 0xbeefc0de;
const dataVersion = 2;
const metaPageFlag = 0x08;

/**
 * Checks what LMDB itself trusts blindly: opening a truncated or overwritten data.mdb kills the process (SIGSEGV,
 * SIGBUS), and no exception handler sees it. Throws CACHE_CORRUPT for a file that must not be opened.
 *
 * A missing file is fine, and so is an empty one unless it is opened read-only: LMDB initialises it. The layout is
 * that of lmdb-js's LMDB with data version 2 on 64-bit little-endian hosts (mdb.c, MDB_page and MDB_meta).
 */
export function checkDataFile(path: string, options: { readonly readOnly: boolean }): void {
  const first = inspect(path, options.readOnly);
  if (first === undefined) return;
  // A writer may have been in the middle of extending the file: only a fault that stays is one.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
  const second = inspect(path, options.readOnly);
  if (second === undefined) return;
  throw new BpfcacheError("CACHE_CORRUPT", `${path} is damaged: ${second}`, {
    hint: "Move the directory aside and prefetch again: a cache can always be rebuilt.",
  });
}

/** What is wrong with the file, or undefined. */
function inspect(path: string, readOnly: boolean): string | undefined {
  let file: number;
  try {
    file = openSync(path, "r");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
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
    if (!stat.isFile()) return "it is not a regular file";
    if (stat.size === 0) return readOnly ? "it is empty" : undefined;
    const header = Buffer.alloc(Math.min(headerBytes, stat.size));
    readSync(file, header, 0, header.length, 0);
    return inspectHeader(header, stat.size);
  } finally {
    closeSync(file);
  }
}

function inspectHeader(header: Buffer, fileSize: number): string | undefined {
  if (header.length < 512) return "it is too short to be a database";
  const pageSize = header.readUInt32LE(48);
  if (pageSize < 512 || pageSize > 32_768 || (pageSize & (pageSize - 1)) !== 0)
    return "its page size is impossible";
  if (fileSize < 2 * pageSize) return "it is shorter than its two meta pages";
  const metas = [0, pageSize].map((offset) => readMeta(header, offset));
  for (const meta of metas) if (typeof meta === "string") return meta;
  const newest = metas.reduce((a, b) =>
    typeof a === "object" && typeof b === "object" && b.transaction > a.transaction ? b : a,
  );
  if (typeof newest === "object" && (newest.lastPage + 1n) * BigInt(pageSize) > BigInt(fileSize)) {
    return `it was cut to ${fileSize} bytes and needs ${(newest.lastPage + 1n) * BigInt(pageSize)}`;
  }
  return undefined;
}

function readMeta(header: Buffer, offset: number): { lastPage: bigint; transaction: bigint } | string {
  if ((header.readUInt16LE(offset + 18) & metaPageFlag) === 0) return "a meta page is not marked as one";
  if (header.readUInt32LE(offset + 24) !== magic) return "it does not have LMDB's magic number";
  if ((header.readUInt32LE(offset + 28) & 0xffff) !== dataVersion)
    return "its LMDB format version is unknown";
  return {
    lastPage: header.readBigUInt64LE(offset + 144),
    transaction: header.readBigUInt64LE(offset + 152),
  };
}
