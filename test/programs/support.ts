import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type BytecodeCache, openCache } from "../../src/index.js";
import type { CacheOptions } from "../../src/options.js";
import { requireKernel, requireTools } from "../support/tools.js";

/** Why programs cannot be compiled and loaded here. */
export const noKernel = requireTools("clang") ?? requireKernel();

/** A cache of a test's own, with whatever it has pinned: both go when it is disposed of. */
export class ProgramSite {
  readonly #home: string;
  readonly directory: string;
  readonly #caches: BytecodeCache[] = [];

  constructor(under = tmpdir()) {
    this.#home = mkdtempSync(join(under, "bpfcache-programs-"));
    this.directory = join(this.#home, "cache");
  }

  async open(options: Omit<CacheOptions, "directory"> = {}): Promise<BytecodeCache> {
    const cache = await openCache({ ...options, directory: this.directory });
    this.#caches.push(cache);
    return cache;
  }

  path(name: string): string {
    return join(this.#home, name);
  }

  /** Takes an object in, and returns its reference. */
  async seed(cache: BytecodeCache, name: string, bytes: Uint8Array): Promise<string> {
    const file = this.path(`${name}.o`);
    writeFileSync(file, bytes);
    const reference = `registry.example/programs/${name.replaceAll("_", "-")}:v1`;
    const { failed } = await cache.seed([file], { as: reference, overwrite: true });
    if (failed.length > 0) throw new Error(failed.map(({ message }) => message).join());
    return reference;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const cache of this.#caches) await cache.close();
    const cache = await this.open();
    const { programs } = await cache.programs.list();
    for (const { id } of programs) await cache.programs.unload(id);
    await cache.close();
    rmSync(this.#home, { recursive: true });
  }
}

/** What `bpftool -j` prints. */
// biome-ignore lint/suspicious/noExplicitAny: what a command printed may have any shape
export function bpftool(...args: readonly string[]): any {
  return JSON.parse(execFileSync("bpftool", ["-j", ...args], { encoding: "utf8" }));
}

/** Ids of the programs in the kernel that have this name, in order. */
export function idsNamed(name: string): readonly number[] {
  const programs = bpftool("prog", "show") as readonly { id: number; name?: string }[];
  return programs.filter((program) => program.name === name.slice(0, 15)).map(({ id }) => id);
}

/** All files of a directory of bpffs, with their paths. */
export function pinsUnder(directory: string): readonly string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => !entry.isDirectory())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** A name that no other test's program has. */
export function uniqueName(prefix: string): string {
  return `${prefix}_${process.pid.toString(36)}_${(drawn++).toString(36)}`;
}

let drawn = 0;
