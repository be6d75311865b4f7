import { randomBytes } from "node:crypto";
import type { ServerResponse } from "node:http";
import { type Digest, digestOf } from "../../../src/core/digest.js";
import { parseReference, type Reference } from "../../../src/core/reference.js";
import type { Descriptor } from "../../../src/image/descriptor.js";
import { mediaTypes } from "../../../src/image/media-types.js";
import { FaultServer, type Seen } from "./fault-server.js";

export type Auth =
  | { readonly kind: "none" }
  | { readonly kind: "basic"; readonly user: string }
  /** `user` undefined: anonymous tokens are given. */
  | {
      readonly kind: "bearer";
      readonly user?: string | undefined;
      readonly realm?: string;
      readonly expiresIn?: number;
    };

export interface TestImage {
  readonly reference: Reference;
  readonly manifest: Buffer;
  readonly descriptor: Descriptor;
  readonly config: Descriptor;
  readonly layer: Descriptor;
  readonly layerBytes: Buffer;
}

/** A registry that keeps to the distribution specification, on top of a server that can be told not to. */
export class TestRegistry {
  readonly #content = new Map<string, { mediaType: string; bytes: Buffer }>();
  /** What each token given is good for. */
  readonly #tokens = new Map<string, string[]>();
  auth: Auth = { kind: "none" };
  /** Sent with every 200 for a manifest or blob. */
  extraHeaders: Record<string, string> = {};

  private constructor(readonly server: FaultServer) {
    server.fallback = (request, response) => this.#serve(request, response);
  }

  static async start(
    auth: Auth = { kind: "none" },
    tls?: Parameters<typeof FaultServer.start>[0],
  ): Promise<TestRegistry> {
    const registry = new TestRegistry(await FaultServer.start(tls));
    registry.auth = auth;
    return registry;
  }

  addImage(
    repository = "org/program",
    tag = "v1",
    layerBytes: Buffer = randomBytes(3_000),
    host?: string,
  ): TestImage {
    const config = this.addBlob(
      repository,
      Buffer.from(`{"n":"${randomBytes(4).toString("hex")}"}`),
      mediaTypes.ociConfig,
    );
    const layer = this.addBlob(repository, layerBytes, mediaTypes.ociLayerGzip);
    const document = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] };
    const manifest = Buffer.from(JSON.stringify(document));
    const descriptor = this.putManifest(repository, tag, manifest, mediaTypes.ociManifest);
    const reference = parseReference(`${host ?? this.server.host}/${repository}:${tag}`);
    return { reference, manifest, descriptor, config, layer, layerBytes };
  }

  putManifest(repository: string, tag: string, bytes: Buffer, mediaType: string): Descriptor {
    const digest = digestOf(bytes);
    const content = { mediaType, bytes };
    this.#content.set(`/v2/${repository}/manifests/${tag}`, content);
    this.#content.set(`/v2/${repository}/manifests/${digest}`, content);
    this.#content.set(`/v2/${repository}/manifests/${digestOf(bytes, "sha512")}`, content);
    return { mediaType, digest, size: bytes.byteLength };
  }

  addBlob(repository: string, bytes: Buffer, mediaType: string): Descriptor {
    const digest = digestOf(bytes);
    this.#content.set(`/v2/${repository}/blobs/${digest}`, { mediaType: "application/octet-stream", bytes });
    return { mediaType, digest, size: bytes.byteLength };
  }

  /** Requests that are not for tokens. */
  get registryLog(): string[] {
    return this.server.log.filter((line) => !line.includes("/token"));
  }

  get tokenLog(): string[] {
    return this.server.log.filter((line) => line.includes("/token"));
  }

  get rejected(): number {
    return this.#rejected;
  }
  #rejected = 0;

  /** Forgets every token given, as a registry does that was restarted. */
  revokeTokens(): void {
    this.#tokens.clear();
  }

  async close(): Promise<void> {
    await this.server.close();
  }

  #serve(request: Seen, response: ServerResponse): void {
    const path = request.path.split("?")[0] ?? "";
    if (path === "/token") this.#grant(request, response);
    else if (this.#isAllowed(request, path)) this.#give(request, path, response);
    else this.#challenge(path, response);
  }

  #give(request: Seen, path: string, response: ServerResponse): void {
    const content = this.#content.get(path);
    if (content === undefined) {
      const code = path.includes("/blobs/") ? "BLOB_UNKNOWN" : "MANIFEST_UNKNOWN";
      response.writeHead(404, { "content-type": "application/json" });
      response.end(JSON.stringify({ errors: [{ code, message: "it is not here" }] }));
      return;
    }
    serveContent(request, response, content, this.extraHeaders);
  }

  #isAllowed({ headers }: Seen, path: string): boolean {
    const { auth } = this;
    if (auth.kind === "none") return true;
    if (auth.kind === "basic") return headers.authorization === basic(auth.user);
    const token = headers.authorization?.replace(/^Bearer /, "") ?? "";
    return this.#tokens.get(token)?.includes(scopeOf(path)) ?? false;
  }

  #challenge(path: string, response: ServerResponse): void {
    this.#rejected += 1;
    const { auth } = this;
    const realm = auth.kind === "bearer" ? (auth.realm ?? `${this.server.origin}/token`) : "";
    const challenge =
      auth.kind === "basic"
        ? 'Basic realm="registry"'
        : `Bearer realm="${realm}",service="test",scope="${scopeOf(path)}"`;
    response.writeHead(401, { "www-authenticate": challenge, "content-type": "application/json" });
    response.end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
  }

  #grant(request: Seen, response: ServerResponse): void {
    const { auth } = this;
    const query = new URL(request.path, "http://x").searchParams;
    const user = auth.kind === "bearer" ? auth.user : undefined;
    if (user !== undefined && request.headers.authorization !== basic(user)) {
      response.writeHead(401).end('{"details":"incorrect username or password"}');
      return;
    }
    const token = randomBytes(12).toString("hex");
    this.#tokens.set(token, query.getAll("scope"));
    const expires = auth.kind === "bearer" ? auth.expiresIn : undefined;
    response.writeHead(200, { "content-type": "application/json" });
    response.end(JSON.stringify({ token, ...(expires === undefined ? {} : { expires_in: expires }) }));
  }
}

/** What distribution does: ETag and If-None-Match by digest, one range. */
export function serveContent(
  request: Seen,
  response: ServerResponse,
  content: { mediaType: string; bytes: Buffer },
  extra: Record<string, string> = {},
): void {
  const { bytes, mediaType } = content;
  const digest: Digest = digestOf(bytes);
  const common = { etag: `"${digest}"`, "docker-content-digest": digest, ...extra };
  if (request.headers["if-none-match"] === `"${digest}"`) {
    response.writeHead(304, common).end();
    return;
  }
  const range = /^bytes=(\d+)-$/.exec(request.headers.range ?? "");
  const first = Number(range?.[1] ?? 0);
  if (range !== null && first >= bytes.length) {
    response.writeHead(416, { "content-range": `bytes */${bytes.length}` }).end();
    return;
  }
  const part = bytes.subarray(first);
  response.writeHead(range === null ? 200 : 206, {
    ...common,
    "content-type": mediaType,
    "content-length": part.length,
    ...(range === null ? {} : { "content-range": `bytes ${first}-${bytes.length - 1}/${bytes.length}` }),
  });
  response.end(request.method === "HEAD" ? undefined : part);
}

export function basic(user: string): string {
  return `Basic ${Buffer.from(user).toString("base64")}`;
}

function scopeOf(path: string): string {
  const repository = /^\/v2\/(.+)\/(?:manifests|blobs|referrers|tags)\//.exec(path)?.[1] ?? "";
  return `repository:${repository}:pull`;
}
