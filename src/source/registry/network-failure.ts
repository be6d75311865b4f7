import { errors } from "undici";
import { throwIfAborted } from "../../core/errors.js";
import { RegistryFailure } from "./failure.js";

/** Errors of the network that are the same a moment later. Everything else may be chance, and is tried again. */
const lasting: Readonly<Record<string, string>> = {
  ENOTFOUND: "there is no such host",
  UND_ERR_HEADERS_OVERFLOW: "its headers are too long",
  UND_ERR_INVALID_ARG: "it cannot be asked",
  EPROTO: "it does not speak TLS",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "it does not speak TLS",
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another host",
  CERT_HAS_EXPIRED: "its certificate has expired",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate was signed by an unknown authority",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate was signed by an unknown authority",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate was signed by an unknown authority",
};

const passing: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "it broke the connection",
  EPIPE: "it broke the connection",
  UND_ERR_SOCKET: "it broke the connection",
  ETIMEDOUT: "it did not answer in time",
  UND_ERR_CONNECT_TIMEOUT: "it did not answer in time",
  UND_ERR_HEADERS_TIMEOUT: "it did not answer in time",
  UND_ERR_BODY_TIMEOUT: "it stopped in the middle of its answer",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "its answer was cut short",
  EAI_AGAIN: "its name could not be looked up",
  ENETUNREACH: "the network is unreachable",
  EHOSTUNREACH: "the host is unreachable",
};

const tlsHint =
  "Give its authority's certificate with --ca-file, or name the host with --plain-http if it speaks http.";

/**
 * What undici or the socket threw, as UNREACHABLE. When the caller aborted it is INTERRUPTED instead, whatever
 * the socket said while it was torn down.
 */
export function networkFailure(
  thrown: unknown,
  host: string,
  signal: AbortSignal | undefined,
): RegistryFailure {
  throwIfAborted(signal);
  if (thrown instanceof RegistryFailure) return thrown;
  const inner = rootError(thrown);
  if (inner instanceof RegistryFailure) return inner;
  const code = errorCode(inner);
  if (code === "UND_ERR_DESTROYED" || code === "UND_ERR_CLOSED" || code === "UND_ERR_ABORTED") {
    return new RegistryFailure("INTERRUPTED", "the registry source was closed", { cause: thrown });
  }
  const isHttp = !(inner instanceof errors.HTTPParserError);
  const reason = isHttp ? reasonOf(inner, code) : "it does not speak HTTP";
  const isTls = /CERT|SSL|TLS|EPROTO|SIGNATURE/.test(code);
  return new RegistryFailure("UNREACHABLE", `${host} cannot be reached: ${reason}`, {
    cause: thrown,
    retryable: lasting[code] === undefined && isHttp && !isTls,
    hint: isTls ? tlsHint : undefined,
  });
}

function reasonOf(error: unknown, code: string): string {
  return lasting[code] ?? passing[code] ?? (error instanceof Error ? error.message : String(error));
}

/** Node tries every address of a name and throws an AggregateError; the first of its errors tells as much as any. */
function rootError(thrown: unknown): unknown {
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return thrown.errors[0];
  if (thrown instanceof Error && errorCode(thrown) === "" && thrown.cause !== undefined)
    return rootError(thrown.cause);
  return thrown;
}

function errorCode(thrown: unknown): string {
  if (!(thrown instanceof Error) || !("code" in thrown)) return "";
  return typeof thrown.code === "string" ? thrown.code : "";
}
