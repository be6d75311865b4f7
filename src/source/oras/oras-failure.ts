import { BpfcacheError, type ErrorCode } from "../../core/errors.js";
import { quoteOutput } from "../../core/run-program.js";

/** What its messages mean; it ends with 1 whatever the matter is. The first that fits counts. */
const meanings: readonly { readonly code: ErrorCode; readonly words: RegExp }[] = [
  {
    code: "UNAUTHORIZED",
    words: /\b40[13]\b|unauthorized|authentication required|denied|credential|basic auth/i,
  },
  { code: "NOT_FOUND", words: /\b404\b|not found|manifest unknown|name unknown/i },
  {
    code: "UNREACHABLE",
    words:
      /\b(?:429|5\d\d)\b|no such host|connection (?:refused|reset)|i\/o timeout|deadline exceeded|\bEOF\b|x509|tls:|HTTPS client|no route|unreachable|dial tcp/i,
  },
];

/** A run of oras that ended with a status other than 0, in our codes and its words. */
export function failureOf(status: number, stderr: string): BpfcacheError {
  const meaning = meanings.find(({ words }) => words.test(stderr));
  if (meaning === undefined) return toolFailed(`it ended with status ${status}`, stderr);
  return new BpfcacheError(meaning.code, `oras says: ${quoteOutput(stderr)}`);
}

export function toolFailed(reason: string, words: string, cause?: unknown): BpfcacheError {
  const said = words.trim() === "" ? "" : `; it says: ${quoteOutput(words)}`;
  return new BpfcacheError("TOOL_FAILED", `oras failed: ${reason}${said}`, { cause });
}
