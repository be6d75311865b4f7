/** Every way bpfcache fails, and the exit status the command line gives it. Codes and numbers are a contract. */
export const exitStatus = {
  /** A bug in bpfcache. */
  INTERNAL: 1,
  /** Wrong words, a malformed reference, a bad configuration. */
  USAGE: 2,
  /** The source has no such image. */
  NOT_FOUND: 3,
  /** Absent here, and the policy Never or --offline forbids fetching. */
  NOT_CACHED: 4,
  /** Credentials are missing or were refused. */
  UNAUTHORIZED: 5,
  /** Network, timeout, 5xx or 429, after all retries and mirrors. */
  UNREACHABLE: 6,
  /** What came is not what was named. */
  DIGEST_MISMATCH: 7,
  /** The trust policy refused it. */
  UNTRUSTED: 8,
  /** Malformed, hostile, or without an eBPF object. */
  INVALID_IMAGE: 9,
  /** Nothing for this platform or byte order. */
  PLATFORM_MISMATCH: 10,
  /** The database or a value in it is damaged and could not be repaired. */
  CACHE_CORRUPT: 11,
  /** No space left, or over the budget. */
  CACHE_FULL: 12,
  /** A lease or lock was not free in time. */
  CACHE_BUSY: 13,
  /** A program that bpfcache runs (oras, bpftool, a credential helper) is missing or failed. */
  TOOL_FAILED: 14,
  /** A batch finished and some of it failed. */
  PARTIAL: 20,
  /** SIGINT; what was published stays. */
  INTERRUPTED: 130,
} as const;

export type ErrorCode = keyof typeof exitStatus;

export interface ErrorDetails {
  /** The image reference the failure is about. */
  readonly reference?: string | undefined;
  /** What the user can do next, as one sentence. */
  readonly hint?: string | undefined;
  readonly cause?: unknown;
  /** For mismatches: what was named, and what came instead. */
  readonly expected?: string | undefined;
  readonly found?: string | undefined;
  /** What a tool has to say at length, line by line. */
  readonly log?: readonly string[] | undefined;
}

/** The one error bpfcache throws. Match on `code`; messages may change. */
export class BpfcacheError extends Error {
  readonly code: ErrorCode;
  readonly reference: string | undefined;
  readonly hint: string | undefined;
  readonly expected: string | undefined;
  readonly found: string | undefined;
  readonly log: readonly string[] | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "BpfcacheError";
    this.code = code;
    this.reference = details.reference;
    this.hint = details.hint;
    this.expected = details.expected;
    this.found = details.found;
    this.log = details.log;
  }

  /** The same error, told about the reference it happened to, unless it knows one already. */
  about(reference: string): BpfcacheError {
    if (this.reference !== undefined) return this;
    return new BpfcacheError(this.code, this.message, {
      reference,
      hint: this.hint,
      cause: this.cause,
      expected: this.expected,
      found: this.found,
      log: this.log,
    });
  }
}

/** Any thrown value as a BpfcacheError: aborts become INTERRUPTED, what nobody foresaw becomes INTERNAL. */
export function toBpfcacheError(thrown: unknown): BpfcacheError {
  if (thrown instanceof BpfcacheError) return thrown;
  if (thrown instanceof Error) {
    if (thrown.name === "AbortError")
      return new BpfcacheError("INTERRUPTED", "interrupted", { cause: thrown });
    return new BpfcacheError("INTERNAL", thrown.message, { cause: thrown });
  }
  return new BpfcacheError("INTERNAL", String(thrown), { cause: thrown });
}

/** Throws INTERRUPTED when `signal` has been aborted, with the caller's own reason as the cause. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  if (signal.reason instanceof BpfcacheError) throw signal.reason;
  throw new BpfcacheError("INTERRUPTED", "interrupted", { cause: signal.reason });
}

/** The name of a system error (ENOENT, …); undefined when it is none. */
export function codeOf(error: unknown): unknown {
  return error instanceof Error && "code" in error ? error.code : undefined;
}
