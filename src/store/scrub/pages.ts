import { setImmediate as turn } from "node:timers/promises";
import { throwIfAborted } from "../../core/errors.js";
import type { Environment } from "../environment.js";
import { treeNames } from "../trees.js";

/** Has every page that the trees use looked at, before LMDB follows what they say. Throws CACHE_CORRUPT, and INTERRUPTED. */
export async function examinePages(environment: Environment, signal: AbortSignal | undefined): Promise<void> {
  for (const name of treeNames) {
    throwIfAborted(signal);
    environment.examineAll(name);
    await turn();
  }
}
