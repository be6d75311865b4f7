import { statSync } from "node:fs";
import { join } from "node:path";
import { faultShownBy, runChild, unexplained } from "./child.js";
import { dataFile } from "./directory.js";
import { damaged } from "./header.js";

const shortestTimeoutMs = 60_000;
/** What the slowest disk in use reads in a millisecond: a timeout is taken for damage, so it must be none of the disk's. */
const bytesPerMs = 2_000;

/**
 * Has a child process open the environment and look at every page that the trees use: what damage kills at the opening,
 * kills the child and not its parent.
 * Throws CACHE_CORRUPT. It costs a process's start and a walk through the data, so only what the header leaves open
 * is asked.
 */
export function probe(directory: string): void {
  const path = join(directory, dataFile);
  const end = runChild(
    "probe-walk.js",
    [directory],
    shortestTimeoutMs + Math.ceil(statSync(path).size / bytesPerMs),
  );
  if (end.status === 0) return;
  const fault = faultShownBy(end);
  throw fault === undefined ? unexplained(`examining ${path}`, end) : damaged(path, fault);
}
