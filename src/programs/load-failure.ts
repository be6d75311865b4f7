import { BpfcacheError } from "../core/errors.js";
import { quoteOutput } from "../core/run-program.js";
import { readVerifierLog } from "./verifier-log.js";

/** A load that libbpf or the kernel refused, from what libbpf printed. */
export function loadRefused(tool: string, printed: string): BpfcacheError {
  const log = readVerifierLog(printed);
  if (log !== undefined) {
    const place = log.source === undefined ? "" : `, at ${log.source}`;
    return new BpfcacheError(
      "TOOL_FAILED",
      `the kernel's verifier refused the program ${log.program}: ${log.reason}${place}`,
      { log: log.lines },
    );
  }
  const isForbidden = /failed: Operation not permitted|: -1$/m.test(printed);
  return new BpfcacheError("TOOL_FAILED", `${tool} could not load the object: ${quoteOutput(printed)}`, {
    hint: isForbidden ? "Loading needs CAP_BPF, and for some types CAP_NET_ADMIN or CAP_PERFMON." : undefined,
  });
}

export function toolFailed(tool: string, reason: string, cause?: unknown): BpfcacheError {
  return new BpfcacheError("TOOL_FAILED", `${tool} failed: ${reason}`, { cause });
}
