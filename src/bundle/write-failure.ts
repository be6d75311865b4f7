import { BpfcacheError } from "../core/errors.js";

const noSpace = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);

/** What a failure to write at `path` means. A full disk is CACHE_FULL, also where the disk is not the cache's. */
export function writeFailure(thrown: unknown, path: string): unknown {
  if (thrown instanceof BpfcacheError || !(thrown instanceof Error) || !("code" in thrown)) return thrown;
  if (typeof thrown.code === "string" && noSpace.has(thrown.code)) {
    return new BpfcacheError("CACHE_FULL", `no space left to write ${path}`, {
      cause: thrown,
      hint: "Free some space there, or export less at a time. The cache itself is untouched.",
    });
  }
  return new BpfcacheError("USAGE", `cannot write ${path}: ${thrown.message}`, { cause: thrown });
}
