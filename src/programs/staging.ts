import { mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

/** In memory, where there is such a place. */
const memory = "/dev/shm";

/** Where the object of a load lies while the loader reads it. */
export function stagingOf(loadId: string): string {
  const isThere = statSync(memory, { throwIfNoEntry: false })?.isDirectory() === true;
  return join(isThere ? memory : tmpdir(), `bpfcache-${loadId}`);
}

/**
 * Writes an object for a program that takes nothing but a path. libbpf names the maps of global variables after the
 * file, so it keeps its own name, as far as that is one.
 */
export function stage(staging: string, name: string, bytes: Uint8Array): string {
  mkdirSync(staging, { mode: 0o700 });
  const path = join(staging, fileName(name));
  writeFileSync(path, bytes, { mode: 0o600, flag: "wx" });
  return path;
}

export function unstage(staging: string): void {
  rmSync(staging, { recursive: true, force: true });
}

/** An image may call its objects whatever it likes. */
function fileName(name: string): string {
  const plain = basename(name)
    .replace(/[^\w.-]/g, "_")
    .replace(/^[.-]+/, "")
    .slice(0, 100);
  return plain === "" ? "object.o" : plain;
}
