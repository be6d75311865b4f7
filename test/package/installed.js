// The package as npm installs it: packed, and put into an empty directory.

import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dirname, "..", "..");

/** Where the package is installed, and the tarball that it came in. */
export class InstalledPackage {
  /** @param {string} directory */
  constructor(directory) {
    this.directory = directory;
    // The build that is there: `prepack` would build again, under the feet of whoever runs it.
    execFileSync("npm", ["pack", "--ignore-scripts", "--pack-destination", directory], {
      cwd: root,
      stdio: ["ignore", "ignore", "pipe"],
    });
    const [tarball = ""] = readdirSync(directory).filter((name) => name.endsWith(".tgz"));
    this.tarball = join(directory, tarball);
    writeFileSync(join(directory, "package.json"), JSON.stringify({ private: true, type: "module" }));
    this.install(this.tarball);
  }

  static make() {
    return new InstalledPackage(mkdtempSync(join(tmpdir(), "bpfcache-package-")));
  }

  /** @param {string} what A tarball, or a name with a version. */
  install(what) {
    const quiet = ["--no-audit", "--no-fund", "--prefer-offline", "--loglevel=error"];
    execFileSync("npm", ["install", ...quiet, what], {
      cwd: this.directory,
      stdio: ["ignore", "ignore", "pipe"],
    });
  }

  /** What `smoke.js` prints when `node` runs it here. @param {string} node */
  smoke(node) {
    // There, so that the package is found by its name.
    copyFileSync(join(import.meta.dirname, "smoke.js"), join(this.directory, "smoke.js"));
    return execFileSync(node, ["smoke.js", join(root, "examples", "layout")], {
      cwd: this.directory,
      encoding: "utf8",
    });
  }

  remove() {
    rmSync(this.directory, { recursive: true, force: true });
  }
}
