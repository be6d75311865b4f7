import { execFileSync } from "node:child_process";
import { readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { InstalledPackage } from "./installed.js";

const root = join(import.meta.dirname, "..", "..");

describe("the package in an empty directory", () => {
  let installed: InstalledPackage;

  beforeAll(() => {
    installed = InstalledPackage.make();
  }, 300_000);

  afterAll(() => installed.remove(), 60_000);

  it("runs as it is, library and command line, without a build", () => {
    expect(installed.smoke(process.execPath)).toMatch(/: 3 images\n$/);
  });

  it("is small, and holds no tests, sources or maps", () => {
    const listing = execFileSync("tar", ["-tzf", installed.tarball], { encoding: "utf8" })
      .trimEnd()
      .split("\n");
    expect(listing.filter((path) => /\/(test|src|examples)\/|\.map$|(?<!\.d)\.ts$/.test(path))).toEqual([]);
    expect(statSync(installed.tarball).size).toBeLessThan(1024 * 1024);
  });

  it("has each program that runs in a process of its own, with what that imports, and no other module twice", () => {
    const unpacked = join(installed.directory, "node_modules", "bpfcache", "dist");
    const loose = readdirSync(unpacked, { recursive: true, encoding: "utf8" }).filter(
      (path) => path.endsWith(".js") && !path.startsWith("packed"),
    );
    const own = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" });
    expect(loose.sort()).toEqual(own.filter((path) => path.endsWith(".js")).sort());
  });

  it("has types that a strict program compiles against", { timeout: 120_000 }, () => {
    const program = `import { BpfcacheError, openReader, type Bytecode } from "bpfcache";
export function load(reference: string): Bytecode | undefined {
  const reader = openReader({ directory: "/var/lib/bpfcache" });
  try {
    return reader.bytecode(reference, { globals: { limit: 100 } });
  } catch (error) {
    if (error instanceof BpfcacheError && error.code === "NOT_CACHED") return undefined;
    throw error;
  } finally {
    reader.close();
  }
}
`;
    writeFileSync(join(installed.directory, "loader.ts"), program);
    const options = ["--strict", "--noEmit", "--module", "nodenext", "--target", "es2023", "--types", "node"];
    const types = ["--typeRoots", join(root, "node_modules", "@types")];
    const tsc = join(root, "node_modules", "typescript", "bin", "tsc");
    execFileSync(process.execPath, [tsc, ...options, ...types, "--ignoreConfig", "loader.ts"], {
      cwd: installed.directory,
      encoding: "utf8",
    });
  });
});
