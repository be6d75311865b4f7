import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { dataFile } from "./directory.js";
import { damaged } from "./header.js";

const program = fileURLToPath(new URL("./probe-walk.js", import.meta.url));
const timeoutMs = 60_000;

/**
 * Has a child process read every page that the trees use: what damage there is kills the child and not its parent.
 * Throws CACHE_CORRUPT. It costs a process's start and a walk through the data, so only what the header leaves open
 * is asked.
 */
export function probe(directory: string): void {
  const { status, signal } = spawnSync(process.execPath, [program, directory], {
    stdio: "ignore",
    timeout: timeoutMs,
    killSignal: "SIGKILL",
  });
  if (status === 0) return;
  throw damaged(join(directory, dataFile), `reading it ends with ${signal ?? `status ${status}`}`);
}
