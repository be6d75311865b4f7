// @ts-check
// Run by copy.ts as a process of its own, from src and from dist alike: hence JavaScript. Writes a compact copy
// of an environment into an empty directory and onto the disk:
//
//     node copy-compact.js FROM TO
//
// Prints the number of the last transaction before the copy was begun: while it is the newest one, the copy is exact.
// Exits with 20 when LMDB finds fault with the content, with 28 when there is no room.
import { closeSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { openAsClass } from "lmdb";
import { numberOf, openEnvironment } from "./lock-file.js";

const [from = "", to = ""] = process.argv.slice(2);
const binary = { encoding: /** @type {const} */ ("binary"), keyEncoding: /** @type {const} */ ("binary") };
process.umask(0o077);
try {
  const { root } = openEnvironment(openAsClass, { path: from, readOnly: true, noSubdir: false, ...binary });
  const newest = numberOf(root);
  await root.backup(to, true);
  fillFirstMetaPage(`${to}/data.mdb`);
  for (const path of [`${to}/data.mdb`, to]) {
    const file = openSync(path, "r");
    fsyncSync(file);
    closeSync(file);
  }
  writeSync(1, String(newest));
  process.exit(0);
} catch (error) {
  const { message, code } = /** @type {Error & { code?: number | string }} */ (error);
  writeSync(1, message);
  const isFull =
    [28, 122, "ENOSPC", "EDQUOT", "EIO"].includes(code ?? 0) ||
    /No space left|Disk quota|Input\/output error/.test(message);
  process.exit(isFull ? 28 : Number(code) < -30_700 || /^MDB_/.test(message) ? 20 : 1);
}

/**
 * LMDB writes the state of a copy into the second meta page, as transaction 1, and leaves the first one empty. With the
 * same in it, nobody finds an empty database who is led to it (see lock-file.js).
 *
 * @param {string} path
 */
function fillFirstMetaPage(path) {
  const file = openSync(path, "r+");
  const page = Buffer.alloc(4096);
  readSync(file, page, 0, page.length, page.length);
  page.writeBigUInt64LE(0n, 0); // Which page it is.
  page.writeBigUInt64LE(0n, 152); // Its transaction.
  writeSync(file, page, 0, page.length, 0);
  closeSync(file);
}
