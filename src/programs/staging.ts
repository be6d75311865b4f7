import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { namesIn } from "../store/files.js";
import { removeIfEmpty, unlinkIfThere } from "./unlink.js";

/** In memory, where there is such a place. */
const memory = "/dev/shm";

/** Where the object of a load lies while the loader reads it. */
export function stagingOf(loadId: string): string {
  const isThere = statSync(memory, { throwIfNoEntry: false })?.isDirectory() === true;
  return join(isThere ? memory : tmpdir(), `bpfcache-${loadId}`);
}

/** libbpf names the maps of global variables after the file, so it keeps its own name, as far as that is one. */
export function stagedPath(staging: string, name: string): string {
  return join(staging, fileName(name));
}

/** Writes an object for a program that takes nothing but a path. */
export function stage(path: string, bytes: Uint8Array): void {
  mkdirSync(dirname(path), { mode: 0o700 });
  writeFileSync(path, bytes, { mode: 0o600, flag: "wx" });
}

/** What is in it is files: so many calls, which take a fifth of the time of `rmSync`. */
export function unstage(staging: string): void {
  for (const name of namesIn(staging)) unlinkIfThere(join(staging, name));
  removeIfEmpty(staging);
}

/** An image may call its objects whatever it likes. */
function fileName(name: string): string {
  const plain = basename(name)
    .replace(/[^\w.-]/g, "_")
    .replace(/^[.-]+/, "")
    .slice(0, 100);
  return plain === "" ? "object.o" : plain;
}
