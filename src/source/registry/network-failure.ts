import { errors } from "undici";
import { throwIfAborted } from "../../core/errors.js";
import { RegistryFailure } from "./failure.js";

/** Why no answer came, by the code of the socket, the TLS stack or undici. */
const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ECONNRESET: "it broke the connection",
  EPIPE: "it broke the connection",
  UND_ERR_SOCKET: "it broke the connection",
  CLOSED_AFTER_HANDSHAKE:
    "it closed the connection without an answer, as servers do that want a client's certificate",
  ETIMEDOUT: "it did not answer in time",
  UND_ERR_CONNECT_TIMEOUT: "it did not answer in time",
  UND_ERR_HEADERS_TIMEOUT: "it did not answer in time",
  UND_ERR_BODY_TIMEOUT: "it stopped in the middle of its answer",
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: "its answer was cut short",
  EAI_AGAIN: "its name could not be looked up",
  ENETUNREACH: "the network is unreachable",
  EHOSTUNREACH: "the host is unreachable",
  ENOTFOUND: "there is no such host",
  UND_ERR_HEADERS_OVERFLOW: "its headers are too long",
  EPROTO: "it does not speak TLS",
  ERR_SSL_WRONG_VERSION_NUMBER: "it does not speak TLS",
  ERR_SSL_PACKET_LENGTH_TOO_LONG: "it does not speak TLS",
};

const certificateReasons: Readonly<Record<string, string>> = {
  ERR_TLS_CERT_ALTNAME_INVALID: "its certificate is for another host",
  CERT_HAS_EXPIRED: "its certificate has expired",
  CERT_NOT_YET_VALID: "its certificate is not valid yet",
  DEPTH_ZERO_SELF_SIGNED_CERT: "its certificate is self-signed",
  SELF_SIGNED_CERT_IN_CHAIN: "its certificate was signed by an unknown authority",
  UNABLE_TO_GET_ISSUER_CERT: "its certificate was signed by an unknown authority",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "its certificate was signed by an unknown authority",
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "its certificate was signed by an unknown authority",
};

/** What is the same a moment later; everything else may be chance, and is tried again. */
const lasting = new Set([
  "ENOTFOUND",
  "UND_ERR_HEADERS_OVERFLOW",
  "EPROTO",
  "ERR_SSL_WRONG_VERSION_NUMBER",
  "ERR_SSL_PACKET_LENGTH_TOO_LONG",
]);

const tlsHint =
  "Give its authority's certificate with --ca-file, or name the host with --plain-http if it speaks http.";

const timeouts = new Set([
  "ETIMEDOUT",
  "UND_ERR_CONNECT_TIMEOUT",
  "UND_ERR_HEADERS_TIMEOUT",
  "UND_ERR_BODY_TIMEOUT",
]);

const clientCertificateHint =
  "If it asks for a client certificate, put one and its key into certs.d/HOST as NAME.cert and NAME.key.";

/**
 * A TLS connection that was made and then closed without an answer. In TLS 1.3 that is how a server refuses a client
 * without a certificate (RFC 8446, section 4.4.2.4): the client learns of it only after the handshake.
 */
export const closedAfterHandshake = "CLOSED_AFTER_HANDSHAKE";

/** No answer, or half of one. */
export class NetworkFailure extends RegistryFailure {
  constructor(
    host: string,
    reason: string,
    readonly systemCode: string,
    cause: unknown,
  ) {
    const isCertificate = systemCode in certificateReasons;
    const isTls = isCertificate || /SSL|TLS|EPROTO/.test(systemCode);
    super("UNREACHABLE", `${host} cannot be reached: ${reason}`, {
      cause,
      retryable: !isTls && !lasting.has(systemCode) && !isOtherProtocol(cause),
      hint: isTls ? tlsHint : systemCode === closedAfterHandshake ? clientCertificateHint : undefined,
    });
  }

  /** It took as long as we were willing to wait. */
  get isTimeout(): boolean {
    return timeouts.has(this.systemCode);
  }

  /** The other side does speak TLS; it cannot show who it is, or we cannot. */
  get isAboutCertificate(): boolean {
    return this.systemCode in certificateReasons || this.systemCode === closedAfterHandshake;
  }
}

/**
 * What undici or the socket threw, as UNREACHABLE. When the caller aborted it is INTERRUPTED instead, whatever
 * the socket said while it was torn down.
 */
export function networkFailure(thrown: unknown, url: URL, signal: AbortSignal | undefined): RegistryFailure {
  throwIfAborted(signal);
  const root = rootError(thrown);
  if (root instanceof RegistryFailure) return root;
  const code = wasClosedAfterHandshake(root, url) ? closedAfterHandshake : errorCode(root);
  if (code === "UND_ERR_DESTROYED" || code === "UND_ERR_CLOSED" || code === "UND_ERR_ABORTED") {
    return new RegistryFailure("INTERRUPTED", "the registry source was closed", { cause: thrown });
  }
  const reason = isOtherProtocol(root) ? "it does not speak HTTP" : reasonOf(root, code);
  return new NetworkFailure(url.host, reason, code, root);
}

/** While a TLS connection is being made undici reports the socket's own errors, and "other side closed" only later. */
function wasClosedAfterHandshake(error: unknown, url: URL): boolean {
  return url.protocol === "https:" && errorCode(error) === "UND_ERR_SOCKET";
}

function reasonOf(error: unknown, code: string): string {
  const known = reasons[code] ?? certificateReasons[code];
  return known ?? (error instanceof Error ? error.message : String(error));
}

function isOtherProtocol(error: unknown): boolean {
  return error instanceof errors.HTTPParserError;
}

/** Node tries every address of a name and throws an AggregateError; the first of its errors tells as much as any. */
function rootError(thrown: unknown): unknown {
  if (thrown instanceof RegistryFailure) return thrown;
  if (thrown instanceof AggregateError && thrown.errors.length > 0) return thrown.errors[0];
  if (thrown instanceof Error && errorCode(thrown) === "" && thrown.cause !== undefined) {
    return rootError(thrown.cause);
  }
  return thrown;
}

function errorCode(thrown: unknown): string {
  if (!(thrown instanceof Error) || !("code" in thrown)) return "";
  return typeof thrown.code === "string" ? thrown.code : "";
}
