import { join } from "node:path";
import { faultShownBy, startChild, unexplained } from "../child.js";
import { dataFile } from "../directory.js";
import { damaged } from "../header.js";

/**
 * Has a child process read every page that the trees use: a damaged one kills the child and not this process. Throws
 * CACHE_CORRUPT, and INTERRUPTED.
 */
export async function probePages(directory: string, signal: AbortSignal | undefined): Promise<void> {
  const end = await startChild("probe-walk.js", [directory], signal);
  if (end.status === 0) return;
  const path = join(directory, dataFile);
  const fault = faultShownBy(end);
  throw fault === undefined ? unexplained(`examining ${path}`, end) : damaged(path, fault);
}
