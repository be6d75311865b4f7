// @ts-check
// Run by probe.ts as a process of its own, from src and from dist alike: hence JavaScript. Reads every value of every
// tree and exits with 0, or dies trying.
import { open } from "lmdb";

const [directory = ""] = process.argv.slice(2);
const binary = { encoding: /** @type {const} */ ("binary"), keyEncoding: /** @type {const} */ ("binary") };
const root = open({ path: directory, readOnly: true, noSubdir: false, maxDbs: 32, ...binary });
// The root's own keys are the names of the trees. Opening one ends a walk that is under way: so all names first.
for (const name of [...root.getKeys()]) {
  const tree = root.openDB({ name: name.toString().replace(/\0$/, ""), ...binary });
  for (const { value } of tree.getRange()) if (value === undefined) process.exit(1);
}
process.exit(0);
