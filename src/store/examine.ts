import { join } from "node:path";
import { BpfcacheError } from "../core/errors.js";
import { dataFile } from "./directory.js";
import { dataIdentity } from "./files.js";
import { checkDataFile } from "./header.js";
import { abandonedMarks, removeMarks } from "./open-marks.js";
import { probe } from "./probe.js";

/**
 * Looks at an environment before LMDB in this process touches it, for LMDB trusts what it reads, and damage kills. The
 * header is always looked at. A child process walks through all of it when the file is shorter than it says, and after
 * an unclean end.
 *
 * For a writer any end is unclean at which a mark was left: LMDB survives a killed process, but what killed it may have
 * been damage. A reader is to start in milliseconds, so for it only another boot's marks count: a power cut, with a disk
 * that lies about what it has written, is what damages LMDB, and a process killed on this boot has taken nothing with
 * it, as all it wrote is in the kernel's memory. A reader removes the marks if it may; else each pays for the walk until
 * a writer comes.
 *
 * Returns what is wrong, for a writer to do something about. Read-only, throws it as CACHE_CORRUPT.
 */
export function examine(directory: string, isReadOnly: boolean): string | undefined {
  try {
    const finding = checkDataFile(join(directory, dataFile));
    const marks = abandonedMarks(directory, isReadOnly ? "another boot" : "any");
    if (finding === "short" || (marks.length > 0 && dataIdentity(directory) !== undefined)) probe(directory);
    removeMarks(directory, marks);
    return undefined;
  } catch (error) {
    if (isReadOnly || !(error instanceof BpfcacheError) || error.code !== "CACHE_CORRUPT") throw error;
    return error.message;
  }
}

export function notYetMade(directory: string): BpfcacheError {
  return new BpfcacheError("NOT_CACHED", `the cache in ${directory} has nothing in it yet`, {
    hint: "Fill it with bpfcache prefetch or bpfcache seed.",
  });
}
