// @ts-check
// Run by probe.ts as a process of its own, from src and from dist alike: hence JavaScript. Reads every value of every
// tree and exits with 0; with 20, saying why, when LMDB finds fault; or dies trying.
import { writeSync } from "node:fs";
import { createRequire } from "node:module";
import { openOnNewest } from "./newest-transaction.js";

/** As in handle.ts: its CommonJS form loads in half the time. */
const { open } = /** @type {typeof import("lmdb")} */ (createRequire(import.meta.url)("lmdb"));

const [directory = ""] = process.argv.slice(2);
const binary = { encoding: /** @type {const} */ ("binary"), keyEncoding: /** @type {const} */ ("binary") };
try {
  walk();
  process.exit(0);
} catch (error) {
  writeSync(1, error instanceof Error ? error.message : String(error));
  // Only what LMDB says of the content, in numbers below its first: an open file too many is no damage.
  const code = error instanceof Error && "code" in error ? Number(error.code) : Number.NaN;
  process.exit(code < -30_700 || code === 5 || code === 22 || error instanceof RangeError ? 20 : 1);
}

function walk() {
  const options = { path: directory, readOnly: true, noSubdir: false, maxDbs: 64, ...binary };
  const { root } = openOnNewest(directory, () => open(options));
  // The root's own keys are the names of the trees. Opening one ends a walk that is under way: so all names first. Where
  // the file ends within the root's page, what lacks of that reads as zeros: it has no names then, and counts them.
  const names = [...root.getKeys()];
  requireCount(root, names.length);
  for (const name of names) {
    const tree = root.openDB({ name: name.toString().replace(/\0$/, ""), ...binary });
    const expected = entryCountOf(tree);
    let entries = 0;
    for (const { value } of tree.getRange()) {
      // Pages that point at each other have no end.
      if (value === undefined || ++entries > expected) throw unlikeItsCount();
    }
    requireCount(tree, entries);
  }
}

/** @param {import("lmdb").Database} tree @param {number} entries */
function requireCount(tree, entries) {
  if (entries !== entryCountOf(tree)) throw unlikeItsCount();
}

/** @param {import("lmdb").Database} tree */
function entryCountOf(tree) {
  return /** @type {{ entryCount: number }} */ (tree.getStats()).entryCount;
}

function unlikeItsCount() {
  return new RangeError("a tree does not hold what it counts");
}
