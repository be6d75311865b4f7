import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { BpfcacheError } from "../../core/errors.js";
import { dataFile } from "../directory.js";
import { damaged } from "../header.js";

const program = fileURLToPath(new URL("../probe-walk.js", import.meta.url));

/**
 * Has a child process read every page that the trees use: a damaged one kills the child and not this process. Throws
 * CACHE_CORRUPT, and INTERRUPTED.
 */
export async function probePages(directory: string, signal: AbortSignal | undefined): Promise<void> {
  const child = spawn(process.execPath, [program, directory], { stdio: "ignore" });
  const stop = (): void => void child.kill("SIGKILL");
  signal?.addEventListener("abort", stop, { once: true });
  try {
    const [status, killedBy] = (await once(child, "exit")) as [number | null, NodeJS.Signals | null];
    if (signal?.aborted === true) throw new BpfcacheError("INTERRUPTED", "interrupted");
    if (status === 0) return;
    throw damaged(join(directory, dataFile), `reading it ends with ${killedBy ?? `status ${status}`}`);
  } finally {
    signal?.removeEventListener("abort", stop);
  }
}
