import { BpfcacheError, type ErrorCode, type ErrorDetails } from "../../core/errors.js";

export interface FailureDetails extends ErrorDetails {
  /** Whether the same request may succeed a moment later. */
  readonly retryable?: boolean;
  /** How long the server asked us to wait. */
  readonly retryAfterMs?: number | undefined;
}

/** A failed exchange, with what the retry loop has to know. `about()` turns it into a plain BpfcacheError on its way out. */
export class RegistryFailure extends BpfcacheError {
  readonly retryable: boolean;
  readonly retryAfterMs: number | undefined;

  constructor(code: ErrorCode, message: string, details: FailureDetails = {}) {
    super(code, message, details);
    this.retryable = details.retryable ?? false;
    this.retryAfterMs = details.retryAfterMs;
  }
}
