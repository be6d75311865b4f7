import { type ErrorCode, exitStatus } from "../../core/errors.js";
import { table } from "../terminal/table.js";
import { paragraph } from "./layout.js";

const meanings: Readonly<Record<ErrorCode, string>> = {
  INTERNAL: "a bug in bpfcache",
  USAGE: "wrong words, a malformed reference, a bad configuration",
  NOT_FOUND: "the source has no such image",
  NOT_CACHED: "absent here, and the policy Never or --offline forbids fetching",
  UNAUTHORIZED: "credentials are missing or were refused",
  UNREACHABLE: "network, timeout, 5xx or 429, after all retries and mirrors",
  DIGEST_MISMATCH: "what came is not what was named",
  UNTRUSTED: "the trust policy refused it",
  INVALID_IMAGE: "malformed, hostile, or without an eBPF object",
  PLATFORM_MISMATCH: "nothing for this platform or byte order",
  CACHE_CORRUPT: "the database or a value in it is damaged and could not be repaired",
  CACHE_FULL: "no space left, or over the budget",
  CACHE_BUSY: "a lease or lock was not free in time",
  TOOL_FAILED: "a program that bpfcache runs is missing or failed: oras, a credential helper",
  PARTIAL: "a batch finished and some of it failed",
  INTERRUPTED: "SIGINT or SIGTERM; what was published stays",
};

/** Each code with its exit status and when it is given. */
export function exitCodeRows(): readonly (readonly [status: string, code: string, when: string])[] {
  const codes = Object.entries(meanings) as [ErrorCode, string][];
  return [["0", "", "done"], ...codes.map(([code, when]) => [String(exitStatus[code]), code, when] as const)];
}

export function text(): string {
  return [
    table([["EXIT", "CODE", "WHEN"], ...exitCodeRows()]),
    `\n${paragraph(
      "The code is in brackets at the end of an error message and, with --json, in the document on standard error: {error: {code, message, reference, hint}}. Codes and numbers do not change; messages may.",
    )}`,
  ].join("");
}
