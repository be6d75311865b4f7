import { rmdirSync, unlinkSync } from "node:fs";
import { codeOf } from "../core/errors.js";

// Removing what another process may be removing too.

export function unlinkIfThere(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (codeOf(error) !== "ENOENT") throw error;
  }
}

/** Whether it is away. */
export function removeIfEmpty(directory: string): boolean {
  try {
    rmdirSync(directory);
    return true;
  } catch (error) {
    const code = codeOf(error);
    if (code === "ENOENT") return true;
    if (code === "ENOTEMPTY" || code === "EBUSY") return false;
    throw error;
  }
}
