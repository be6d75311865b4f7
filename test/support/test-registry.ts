import { once } from "node:events";
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { mediaTypes } from "../../src/image/media-types.js";
import type { Content, TestRoot } from "./image-builder.js";
import { type Auth, Gatekeeper } from "./registry-auth.js";
import { type Answer, applyFault, type Fault, send } from "./registry-faults.js";

export interface LoggedRequest {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly query: string;
  readonly headers: IncomingHttpHeaders;
  /** What was answered, as it left here: 0 until it is. */
  readonly status: number;
  readonly kind: RequestKind;
}

export type RequestKind = "ping" | "token" | "manifest" | "blob" | "tags" | "referrers" | "other";

/** Which requests a fault is for. All members given must match; none given matches every request. */
export interface FaultMatch {
  readonly method?: string;
  readonly kind?: RequestKind;
  /** Part of the path, such as a digest, a tag or a repository. */
  readonly path?: string | RegExp;
  readonly query?: RegExp;
  /** Only every so many-th request. */
  readonly every?: number;
  /** How many matching requests the fault strikes; after that they are answered rightly. Default all. */
  readonly times?: number;
}

export interface TestRegistryOptions {
  readonly auth?: Auth;
  /** false: no ETag is sent and If-None-Match is ignored. */
  readonly etags?: boolean;
  /** true: answers at the referrers API; else it knows nothing of that path. */
  readonly referrers?: boolean;
  /** Loopback address to listen on; default 127.0.0.1. */
  readonly host?: string;
}

/**
 * A registry on a real HTTP server on a free loopback port, which answers rightly until told otherwise:
 *
 *     await using registry = await startTestRegistry();
 *     registry.add("org/prog:v1", bytecodeImage());
 *     registry.break({ kind: "blob", times: 1 }, { truncateAt: 100 });
 *     await pull(registry.reference("org/prog:v1"));
 *     registry.requests.map(({ method, path, status }) => `${method} ${path} ${status}`);
 */
export async function startTestRegistry(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const registry = new TestRegistry(options);
  await registry.listen();
  return registry;
}

export class TestRegistry implements AsyncDisposable {
  /** Every request since the start or the last `forget()`, in the order they came. */
  readonly requests: LoggedRequest[] = [];
  /** TCP connections accepted since the start or the last `forget()`. */
  connections = 0;

  #received = 0;
  readonly #repositories = new Map<string, Repository>();
  readonly #faults: { readonly match: FaultMatch; readonly fault: Fault; left: number }[] = [];
  readonly #server = createServer((request, response) => {
    // Fails only when the client has gone: then there is nobody to answer.
    this.#serve(request, response).catch(() => response.destroy());
  });
  readonly #gatekeeper: Gatekeeper;

  /** Use `startTestRegistry`. */
  constructor(readonly options: TestRegistryOptions) {
    this.#gatekeeper = new Gatekeeper(options.auth);
    this.#server.on("connection", () => this.connections++);
  }

  /** `127.0.0.1:PORT`. */
  get host(): string {
    const { address, port, family } = this.#server.address() as AddressInfo;
    return family === "IPv6" ? `[${address}]:${port}` : `${address}:${port}`;
  }

  get url(): string {
    return `http://${this.host}`;
  }

  /** The whole reference of `repository[:tag][@digest]` here. */
  reference(name: string): string {
    return `${this.host}/${name}`;
  }

  /** Holds an image under `repository:tag`, moving the tag if there is one; under `repository` by digest only. */
  add(name: string, image: TestRoot): void {
    const [repository = "", tag] = name.split(":");
    const held = this.#repositories.get(repository) ?? new Repository();
    this.#repositories.set(repository, held);
    for (const [digest, document] of image.manifests) held.manifests.set(digest, document);
    for (const [digest, bytes] of image.blobs) held.blobs.set(digest, bytes);
    if (tag !== undefined) held.manifests.set(tag, image.root);
  }

  /** Forgets a tag (`repository:tag`), a document or blob (`repository@digest`), or a whole repository. */
  remove(name: string): void {
    const [, repository = "", key] = /^([^:@]*)(?:[:@](.*))?$/.exec(name) ?? [];
    if (key === undefined) this.#repositories.delete(repository);
    const held = this.#repositories.get(repository);
    held?.manifests.delete(key ?? "");
    held?.blobs.delete(key ?? "");
  }

  /** Answers matching requests wrongly. Of several faults that match, the one added first strikes. Returns how to stop it. */
  break(match: FaultMatch, fault: Fault): () => void {
    const entry = { match, fault, left: match.times ?? Number.POSITIVE_INFINITY };
    this.#faults.push(entry);
    return () => {
      entry.left = 0;
    };
  }

  /** Ends all faults. */
  repair(): void {
    this.#faults.length = 0;
  }

  /** Empties the request log and the connection count. */
  forget(): void {
    this.requests.length = 0;
    this.connections = 0;
  }

  /** How many of a token's scopes are granted; some registries look at the first alone. */
  set grantedScopes(count: number) {
    this.#gatekeeper.grantedScopes = count;
  }

  revokeTokens(): void {
    this.#gatekeeper.revokeTokens();
  }

  async listen(): Promise<void> {
    this.#server.listen(0, this.options.host ?? "127.0.0.1");
    await once(this.#server, "listening");
  }

  /** Cuts every connection and frees the port. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { method = "GET", headers } = request;
    const url = new URL(request.url ?? "/", this.url);
    const route = parseRoute(url.pathname);
    const logged = {
      method,
      path: url.pathname,
      query: url.search,
      headers,
      status: 0,
      kind: route.kind,
    };
    this.requests.push(logged);
    const body = Buffer.concat(await request.toArray()).toString();

    const fault = this.#strike(logged);
    const right = this.#answer({ method, url, headers, body }, route);
    const answer = fault === undefined ? right : applyFault(right, fault);
    logged.status = answer.status;
    const sent = method === "HEAD" || answer.status === 304 ? { ...answer, body: Buffer.alloc(0) } : answer;
    await send(response, sent, fault);
  }

  #strike(request: LoggedRequest): Fault | undefined {
    this.#received++;
    const entry = this.#faults.find(
      ({ match, left }) => left > 0 && this.#received % (match.every ?? 1) === 0 && matches(match, request),
    );
    if (entry === undefined) return undefined;
    entry.left--;
    return entry.fault;
  }

  #answer(request: ReceivedRequest, route: Route): Answer {
    if (route.kind === "token") {
      const { status, json } = this.#gatekeeper.token(request);
      return jsonAnswer(status, json);
    }
    const challenge = this.#gatekeeper.challenge(request.headers, route.repository, this.url);
    if (challenge !== undefined) {
      return errorAnswer(401, "UNAUTHORIZED", "authentication required", { "www-authenticate": challenge });
    }
    if (request.method !== "GET" && request.method !== "HEAD") {
      return errorAnswer(405, "UNSUPPORTED", "the operation is unsupported");
    }
    if (route.kind === "ping") return jsonAnswer(200, {});
    if (route.kind === "referrers" && this.options.referrers !== true) return jsonAnswer(404, "not found");
    const repository = this.#repositories.get(route.repository);
    if (repository === undefined) return errorAnswer(404, "NAME_UNKNOWN", "repository name not known");
    return this.#fromRepository(request, route, repository);
  }

  #fromRepository({ headers }: ReceivedRequest, route: Route, repository: Repository): Answer {
    if (route.kind === "tags") {
      const tags = [...repository.manifests.keys()].filter((key) => !key.includes(":"));
      return jsonAnswer(200, { name: route.repository, tags });
    }
    if (route.kind === "referrers") {
      const index = {
        schemaVersion: 2,
        mediaType: mediaTypes.ociIndex,
        manifests: repository.referrersOf(route.key),
      };
      return jsonAnswer(200, index, { "content-type": mediaTypes.ociIndex });
    }
    if (route.kind === "manifest") {
      const document = repository.manifests.get(route.key);
      if (document === undefined) return errorAnswer(404, "MANIFEST_UNKNOWN", "manifest unknown");
      return this.#contentAnswer(document.bytes, document.digest, document.mediaType, headers);
    }
    const bytes = route.kind === "blob" ? repository.blobs.get(route.key) : undefined;
    if (bytes === undefined) return errorAnswer(404, "BLOB_UNKNOWN", "blob unknown to registry");
    return this.#contentAnswer(bytes, route.key, "application/octet-stream", headers);
  }

  /** With ETag and 304 as distribution does it, and with single byte ranges. */
  #contentAnswer(bytes: Buffer, digest: string, mediaType: string, asked: IncomingHttpHeaders): Answer {
    const etags = this.options.etags ?? true;
    const headers = {
      "content-type": mediaType,
      "docker-content-digest": digest,
      "docker-distribution-api-version": "registry/2.0",
      ...(etags ? { etag: `"${digest}"` } : {}),
    };
    if (etags && asked["if-none-match"]?.includes(digest))
      return { status: 304, headers, body: Buffer.alloc(0) };
    const range = /^bytes=(\d+)-(\d*)$/.exec(asked.range ?? "");
    if (range === null) {
      return { status: 200, headers: { ...headers, "content-length": String(bytes.length) }, body: bytes };
    }
    const start = Number(range[1]);
    const end = Math.min(range[2] ? Number(range[2]) : bytes.length - 1, bytes.length - 1);
    if (start > end) return errorAnswer(416, "RANGE_INVALID", "invalid content range");
    const part = bytes.subarray(start, end + 1);
    const ranged = {
      "content-range": `bytes ${start}-${end}/${bytes.length}`,
      "content-length": `${part.length}`,
    };
    return { status: 206, headers: { ...headers, ...ranged }, body: part };
  }
}

class Repository {
  /** By digest and by tag. */
  readonly manifests = new Map<string, Content>();
  readonly blobs = new Map<string, Buffer>();

  /** Descriptors of all that names the digest as its subject (distribution-spec, "Listing Referrers"). */
  referrersOf(subject: string): object[] {
    const documents = [...new Map([...this.manifests.values()].map((held) => [held.digest, held])).values()];
    return documents.flatMap(({ bytes, digest, mediaType, size }) => {
      const manifest = parseLoosely(bytes);
      if (manifest?.subject?.digest !== subject) return [];
      const artifactType = manifest.artifactType ?? manifest.config?.mediaType;
      return [{ mediaType, digest, size, artifactType, annotations: manifest.annotations }];
    });
  }
}

interface LooseManifest {
  readonly subject?: { readonly digest?: string };
  readonly artifactType?: string;
  readonly config?: { readonly mediaType?: string };
  readonly annotations?: Readonly<Record<string, string>>;
}

function parseLoosely(bytes: Buffer): LooseManifest | undefined {
  try {
    return JSON.parse(bytes.toString()) as LooseManifest;
  } catch {
    return undefined; // Tests put what is no manifest into registries too.
  }
}

interface ReceivedRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

interface Route {
  readonly kind: RequestKind;
  readonly repository: string;
  /** Tag or digest. */
  readonly key: string;
}

const kinds: Readonly<Record<string, RequestKind>> = {
  manifests: "manifest",
  blobs: "blob",
  tags: "tags",
  referrers: "referrers",
};

/** The end points of the distribution specification that a puller uses. */
function parseRoute(path: string): Route {
  if (path === "/token") return { kind: "token", repository: "", key: "" };
  if (path === "/v2/" || path === "/v2") return { kind: "ping", repository: "", key: "" };
  const match = /^\/v2\/(.+)\/(manifests|blobs|tags|referrers)\/([^/]+)$/.exec(path);
  if (match === null) return { kind: "other", repository: "", key: "" };
  const [, repository = "", endPoint = "", key = ""] = match;
  return { kind: kinds[endPoint] ?? "other", repository, key: decodeURIComponent(key) };
}

function matches({ method, kind, path, query }: FaultMatch, request: LoggedRequest): boolean {
  const inPath = typeof path === "string" ? request.path.includes(path) : (path?.test(request.path) ?? true);
  const inQuery = query?.test(request.query) ?? true;
  return (
    (method ?? request.method) === request.method &&
    (kind ?? request.kind) === request.kind &&
    inPath &&
    inQuery
  );
}

function jsonAnswer(status: number, json: unknown, headers: Record<string, string> = {}): Answer {
  const body = Buffer.from(JSON.stringify(json));
  const always = { "content-type": "application/json", "content-length": String(body.byteLength) };
  return { status, headers: { ...always, ...headers }, body };
}

function errorAnswer(
  status: number,
  code: string,
  message: string,
  headers: Record<string, string> = {},
): Answer {
  return jsonAnswer(status, { errors: [{ code, message }] }, headers);
}
