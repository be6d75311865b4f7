// @ts-check
// Run by salvage.ts as a process of its own, from src and from dist alike: hence JavaScript. Prints the rows of one tree
// of an environment that may be damaged, one per line as they are read:
//
//     node salvage-walk.js DIRECTORY TREE
//
// Keys and values are in base64, with a space between them.
import { writeSync } from "node:fs";
import { openAsClass } from "lmdb";
import { openEnvironment } from "./lock-file.js";

const [directory = "", name = ""] = process.argv.slice(2);
const binary = { encoding: /** @type {const} */ ("binary"), keyEncoding: /** @type {const} */ ("binary") };
const options = { path: directory, readOnly: true, noSubdir: false, maxDbs: 64, ...binary };
const { root } = openEnvironment(openAsClass, options);
const tree = root.openDB({ name, ...binary });
for (const { key, value } of tree.getRange())
  print(`${/** @type {Buffer} */ (key).toString("base64")} ${value.toString("base64")}\n`);

/** At once and whole: what comes next may be the end. @param {string} text */
function print(text) {
  const bytes = Buffer.from(text);
  for (let written = 0; written < bytes.length; ) {
    try {
      written += writeSync(1, bytes, written);
    } catch (error) {
      if (!(error instanceof Error && "code" in error && error.code === "EAGAIN")) throw error;
    }
  }
}
