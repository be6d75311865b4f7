// Runs the installed package in several versions of Node, from the registry's packages of it:
//
//     node test/package/node-versions.js [VERSION | PATH]…
//
// A PATH is a `node` that is there already, such as one for musl. Without any, the versions that the package is for.

import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { InstalledPackage } from "./installed.js";

const wanted = process.argv.slice(2);
const versions = wanted.length > 0 ? wanted : ["20.19", "22", "24", "26"];

const installed = InstalledPackage.make();
try {
  for (const version of versions)
    process.stdout.write(version.includes("/") ? installed.smoke(version) : smokeInVersion(version));
} finally {
  installed.remove();
}

/** In a Node installed beside the package, not in it: it is no dependency. @param {string} version */
function smokeInVersion(version) {
  const directory = mkdtempSync(join(tmpdir(), "bpfcache-node-"));
  try {
    const name = `node-${process.platform}-${process.arch}`;
    const options = ["--prefix", directory, "--no-audit", "--no-fund", "--loglevel=error"];
    execFileSync("npm", ["install", ...options, `${name}@${version}`], {
      stdio: ["ignore", "ignore", "inherit"],
    });
    return installed.smoke(join(directory, "node_modules", name, "bin", "node"));
  } finally {
    rmSync(directory, { recursive: true });
  }
}
