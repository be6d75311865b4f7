// @ts-check
// Run by probe.ts as a process of its own, from src and from dist alike: hence JavaScript. Looks at every page
// of every tree and exits with 0; with 20, saying why, when one is damaged; or dies trying, for to open it may kill.
import { writeSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { openEnvironment } from "./lock-file.js";
import { PageFile, readTreeNote } from "./tree-pages.js";

/** As in handle.ts: its CommonJS form loads in half the time. */
const { openAsClass } = /** @type {typeof import("lmdb")} */ (createRequire(import.meta.url)("lmdb"));

const [directory = ""] = process.argv.slice(2);
const binary = { encoding: /** @type {const} */ ("binary"), keyEncoding: /** @type {const} */ ("binary") };
try {
  walk();
  process.exit(0);
} catch (error) {
  writeSync(1, error instanceof Error ? error.message : String(error));
  // Only what LMDB says of the content, in numbers below its first: an open file too many is no damage.
  const code = error instanceof Error && "code" in error ? error.code : undefined;
  const isDamage = Number(code) < -30_700 || code === 5 || code === "EIO" || code === 22;
  process.exit(isDamage || error instanceof RangeError ? 20 : 1);
}

function walk() {
  const options = { path: directory, readOnly: true, noSubdir: false, maxDbs: 64, ...binary };
  const { root } = openEnvironment(openAsClass, options);
  // The root's own keys are the names of the trees. Where the file ends within the root's page, what lacks of that reads
  // as zeros: it has no names then, and counts them.
  const names = [...root.getKeys()];
  const { entryCount, pageSize } = /** @type {{ entryCount: number, pageSize: number }} */ (root.getStats());
  if (names.length !== entryCount) throw new RangeError("there are not as many trees as it counts");
  const pages = new PageFile(join(directory, "data.mdb"), pageSize);
  for (const name of names) {
    const fault = pages.faultOfAll(readTreeNote(root.getBinary(name) ?? Buffer.alloc(0)));
    if (fault !== undefined)
      throw new RangeError(`in the tree ${name.toString().replace(/\0$/, "")}, ${fault}`);
  }
}
