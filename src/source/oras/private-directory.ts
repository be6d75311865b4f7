import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { livenessOf, thisProcess } from "../../core/process-identity.js";

const prefix = "bpfcache-oras-";

/**
 * Makes an empty directory that nobody else can enter (0700). Its name says whose it is; directories of processes that
 * were killed before they could remove theirs are removed on the way.
 */
export function makePrivateDirectory(): string {
  removeAbandoned();
  const { pid, startTime } = thisProcess();
  return mkdtempSync(join(tmpdir(), `${prefix}${pid}-${startTime}-`));
}

export function removeDirectory(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

function removeAbandoned(): void {
  for (const name of readdirSync(tmpdir())) {
    const [pid, startTime] = name.startsWith(prefix) ? name.slice(prefix.length).split("-") : [];
    if (pid === undefined || startTime === undefined) continue;
    const owner = { ...thisProcess(), pid: Number(pid), startTime };
    if (livenessOf(owner) === "dead") tryToRemove(join(tmpdir(), name));
  }
}

/** Another user's is not ours to remove. */
function tryToRemove(path: string): void {
  try {
    removeDirectory(path);
  } catch {
    // Its owner removes it the next time.
  }
}
