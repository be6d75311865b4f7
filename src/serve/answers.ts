import type { IncomingHttpHeaders, OutgoingHttpHeaders } from "node:http";
import { type Digest, isDigest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { parseReference, type Reference } from "../core/reference.js";
import type { Store } from "../store/store.js";

export interface Answer {
  readonly status: number;
  readonly headers: OutgoingHttpHeaders;
  readonly body: Buffer;
}

/** distribution-spec, "Error Codes". */
type RegistryErrorCode =
  | "UNSUPPORTED"
  | "NAME_UNKNOWN"
  | "NAME_INVALID"
  | "MANIFEST_UNKNOWN"
  | "BLOB_UNKNOWN"
  | "UNKNOWN";

const route = /^\/v2\/(?<name>.+)\/(?<kind>manifests|blobs)\/(?<what>[^/]+)$/;

/**
 * Answers one request of the distribution protocol from the cache. A repository is named as in a reference,
 * `quay.io/org/program`, or without its host when the client says that in `?ns=`, as containerd's mirrors do; with
 * neither it is Docker Hub's.
 */
export function answer(store: Store, method: string, target: string, requested: IncomingHttpHeaders): Answer {
  try {
    if (method !== "GET" && method !== "HEAD") return notAllowed();
    const url = new URL(target, "http://registry");
    if (url.pathname === "/v2/" || url.pathname === "/v2")
      return found(Buffer.from("{}"), "application/json", {});
    const { name, kind, what } = route.exec(decodeURIComponent(url.pathname))?.groups ?? {};
    if (name === undefined || what === undefined) return refusal(404, "UNSUPPORTED", "no such endpoint");
    const repository = repositoryOf(name, url.searchParams.get("ns"));
    return kind === "blobs"
      ? answerBlob(store, repository, what)
      : answerManifest(store, repository, what, requested["if-none-match"]);
  } catch (error) {
    return failure(error);
  }
}

/** The manifest that a GET will be answered with, and the repository it is asked for in. */
export function manifestAskedFor(
  store: Store,
  method: string,
  target: string,
): { readonly repository: Reference; readonly digest: Digest } | undefined {
  const url = new URL(target, "http://registry");
  const { name, kind, what } = route.exec(decodeURIComponent(url.pathname))?.groups ?? {};
  if (method !== "GET" || kind !== "manifests" || name === undefined || what === undefined) return undefined;
  const repository = repositoryOf(name, url.searchParams.get("ns"));
  const digest = isDigest(what) ? what : store.rootOf(parseReference(`${repository.name}:${what}`));
  if (digest === undefined || !store.belongsTo(repository.name, "manifest", digest)) return undefined;
  return { repository, digest };
}

function repositoryOf(name: string, namespace: string | null): Reference {
  return parseReference(namespace === null ? name : `${namespace}/${name}`);
}

function answerManifest(
  store: Store,
  { name }: Reference,
  what: string,
  ifNoneMatch: string | undefined,
): Answer {
  const digest = isDigest(what) ? what : store.rootOf(parseReference(`${name}:${what}`));
  const unknown = refusal(404, "MANIFEST_UNKNOWN", `${name} has no manifest ${what} in this cache`);
  if (digest === undefined || !store.belongsTo(name, "manifest", digest)) return unknown;
  if (ifNoneMatch !== undefined && matches(ifNoneMatch, digest)) {
    return { status: 304, headers: digestHeaders(digest), body: Buffer.alloc(0) };
  }
  const manifest = store.manifest(digest);
  return manifest === undefined ? unknown : found(manifest.bytes, manifest.mediaType, digestHeaders(digest));
}

function answerBlob(store: Store, { name }: Reference, what: string): Answer {
  const unknown = refusal(404, "BLOB_UNKNOWN", `${name} has no blob ${what} in this cache`);
  if (!isDigest(what)) return unknown;
  for (const kind of ["layer", "config"] as const) {
    if (!store.belongsTo(name, kind, what)) continue;
    const bytes = store.blob(kind, what);
    if (bytes !== undefined) return found(bytes, "application/octet-stream", digestHeaders(what));
  }
  return unknown;
}

/** RFC 9110 §13.1.2; distribution also takes the digest without quotes. */
function matches(header: string, digest: Digest): boolean {
  return header
    .split(",")
    .map((tag) => tag.trim().replace(/^W\//, "").replaceAll('"', ""))
    .some((tag) => tag === digest || tag === "*");
}

function digestHeaders(digest: Digest): OutgoingHttpHeaders {
  return { "docker-content-digest": digest, etag: `"${digest}"` };
}

function found(body: Buffer, contentType: string, headers: OutgoingHttpHeaders): Answer {
  return {
    status: 200,
    headers: {
      "docker-distribution-api-version": "registry/2.0",
      "content-type": contentType,
      "content-length": body.length,
      ...headers,
    },
    body,
  };
}

function refusal(status: number, code: RegistryErrorCode, message: string): Answer {
  const body = Buffer.from(`${JSON.stringify({ errors: [{ code, message }] })}\n`);
  return { ...found(body, "application/json", {}), status };
}

/** RFC 9110 §15.5.6: the answer says which methods there are. */
function notAllowed(): Answer {
  const answer = refusal(405, "UNSUPPORTED", "this registry is read-only");
  return { ...answer, headers: { ...answer.headers, allow: "GET, HEAD" } };
}

/** A value that fails its check is never sent: the client gets an error instead of wrong bytes. */
function failure(error: unknown): Answer {
  if (error instanceof BpfcacheError && error.code === "USAGE")
    return refusal(400, "NAME_INVALID", error.message);
  if (error instanceof URIError || error instanceof TypeError)
    return refusal(400, "NAME_INVALID", "malformed URL");
  return refusal(500, "UNKNOWN", error instanceof Error ? error.message : "unknown error");
}
