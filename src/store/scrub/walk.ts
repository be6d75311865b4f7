import { setImmediate as turn } from "node:timers/promises";
import { throwIfAborted } from "../../core/errors.js";
import type { Environment } from "../environment.js";
import type { TreeName } from "../trees.js";

const empty = Buffer.alloc(0);
const sliceRows = 100;
const sliceBytes = 1024 * 1024;

/** Looks at one row; returns how many bytes it has read. */
export type Look = (key: Buffer) => number;

/**
 * Walks through a tree in slices of about a mebibyte or a hundred rows. Each sees a snapshot of its own, and between
 * two of them everybody else has a turn: no walk keeps old pages from being used again, and none blocks its process.
 */
export async function walk(
  environment: Environment,
  tree: TreeName,
  look: Look,
  options: {
    readonly signal?: AbortSignal | undefined;
    readonly onSlice: (rows: number, bytes: number) => void;
  },
): Promise<void> {
  let limit = sliceRows;
  for (let after: Buffer | undefined, isDone = false; !isDone; ) {
    throwIfAborted(options.signal);
    environment.snapshot(() => {
      const keys = environment.tree(tree).keysAfter(empty, after, limit);
      let [rows, bytes] = [0, 0];
      for (const key of keys) {
        bytes += look(key);
        rows++;
        after = key;
        if (bytes >= sliceBytes) break;
      }
      isDone = rows === keys.length && keys.length < limit;
      // Of large values few are looked at in a slice: no need to list more.
      limit = Math.min(sliceRows, rows * 2 + 1);
      options.onSlice(rows, bytes);
    });
    await turn();
  }
}
