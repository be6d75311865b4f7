import type { OutgoingHttpHeaders } from "node:http";
import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";

/** What goes back for one request. A HEAD is answered with the same, without the body. */
export interface Answer {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
}

/** distribution-spec, "Error Codes". */
type RegistryErrorCode =
  | "BLOB_UNKNOWN"
  | "MANIFEST_INVALID"
  | "MANIFEST_UNKNOWN"
  | "NAME_INVALID"
  | "NAME_UNKNOWN"
  | "UNAUTHORIZED"
  | "UNSUPPORTED"
  | "UNKNOWN";

const nothing = Buffer.alloc(0);

export function found(body: Buffer, contentType: string, headers: OutgoingHttpHeaders = {}): Answer {
  return {
    status: 200,
    headers: {
      "docker-distribution-api-version": "registry/2.0",
      "content-type": contentType,
      "content-length": body.length,
      "x-content-type-options": "nosniff",
      ...headers,
    },
    body,
  };
}

export function foundJson(document: object, headers: OutgoingHttpHeaders = {}): Answer {
  return found(Buffer.from(`${JSON.stringify(document)}\n`), "application/json", headers);
}

export function refusal(
  status: number,
  code: RegistryErrorCode,
  message: string,
  headers: OutgoingHttpHeaders = {},
): Answer {
  return { ...foundJson({ errors: [{ code, message }] }, headers), status };
}

/** RFC 9110 §15.5.6: the answer says which methods there are. */
export function notAllowed(): Answer {
  return refusal(405, "UNSUPPORTED", "this registry is read-only", { allow: "GET, HEAD" });
}

/** A value that fails its check is never sent: the client gets an error instead of wrong bytes. */
export function failure(error: unknown): Answer {
  if (error instanceof BpfcacheError && error.code === "USAGE")
    return refusal(400, "NAME_INVALID", error.message);
  const isNoUrl = error instanceof TypeError && "code" in error && error.code === "ERR_INVALID_URL";
  if (error instanceof URIError || isNoUrl) return refusal(400, "NAME_INVALID", "malformed URL");
  return refusal(500, "UNKNOWN", error instanceof Error ? error.message : "unknown error");
}

/** What names content by its digest: it can be kept for ever. */
export function digestHeaders(digest: Digest): OutgoingHttpHeaders {
  return { "docker-content-digest": digest, etag: `"${digest}"` };
}

/** The client has this already. RFC 9110 §13.1.2; distribution also takes the digest without quotes. */
export function notModified(ifNoneMatch: string | undefined, digest: Digest): Answer | undefined {
  const matches = ifNoneMatch
    ?.split(",")
    .map((tag) => tag.trim().replace(/^W\//, "").replaceAll('"', ""))
    .some((tag) => tag === digest || tag === "*");
  return matches === true ? { status: 304, headers: digestHeaders(digest), body: nothing } : undefined;
}
