import { randomUUID } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

export interface BasicAuth {
  readonly type: "basic";
  readonly username: string;
  readonly password: string;
}

/** The Docker token flow: 401 with a realm, a token from there, the request again with `Authorization: Bearer`. */
export interface BearerAuth {
  readonly type: "bearer";
  /** Who may have a token; without them anybody may, as on quay.io and ghcr.io. */
  readonly username?: string;
  readonly password?: string;
  /** Seconds, as told to the client and as enforced. Default 300. */
  readonly expiresInSeconds?: number;
  /** Where the challenge sends clients, instead of this registry's own `/token`. */
  readonly realm?: string;
  /** The member of the token answer: `token` (Docker, the default) or `access_token` (OAuth 2). */
  readonly tokenMember?: "token" | "access_token";
}

export type Auth = BasicAuth | BearerAuth;

export interface TokenRequest {
  readonly method: string;
  readonly url: URL;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Decides who may read which repository, and hands out tokens. */
export class Gatekeeper {
  readonly #tokens = new Map<string, { readonly scopes: readonly string[]; readonly expires: number }>();

  grantedScopes = Number.POSITIVE_INFINITY;

  constructor(readonly auth: Auth | undefined) {}

  /** The WWW-Authenticate header to refuse with, or undefined when the request may pass. `repository` is empty for `/v2/`. */
  challenge(headers: IncomingHttpHeaders, repository: string, origin: string): string | undefined {
    if (this.auth === undefined) return undefined;
    const authorization = headers.authorization ?? "";
    if (this.auth.type === "basic") {
      return authorization === basic(this.auth.username, this.auth.password)
        ? undefined
        : 'Basic realm="test registry"';
    }
    const scope = repository === "" ? "" : `repository:${repository}:pull`;
    if (this.#admits(authorization.replace(/^Bearer /, ""), scope)) return undefined;
    const realm = this.auth.realm ?? `${origin}/token`;
    return `Bearer realm="${realm}",service="test registry"${scope === "" ? "" : `,scope="${scope}"`}`;
  }

  #admits(token: string, scope: string): boolean {
    const issued = this.#tokens.get(token);
    return (
      issued !== undefined && issued.expires > Date.now() && (scope === "" || issued.scopes.includes(scope))
    );
  }

  /** Answers GET with a query (Docker) and POST with a form (OAuth 2 password or refresh_token grant). */
  token({ method, url, headers, body }: TokenRequest): { readonly status: number; readonly json: unknown } {
    if (this.auth?.type !== "bearer") return { status: 404, json: {} };
    const form = method === "POST" ? new URLSearchParams(body) : url.searchParams;
    if (!this.#knows(headers.authorization, form)) {
      return { status: 401, json: { errors: [{ code: "UNAUTHORIZED", message: "wrong credentials" }] } };
    }
    const token = randomUUID();
    const seconds = this.auth.expiresInSeconds ?? 300;
    const scopes = form
      .getAll("scope")
      .flatMap((scope) => scope.split(" "))
      .slice(0, this.grantedScopes);
    this.#tokens.set(token, { scopes, expires: Date.now() + seconds * 1000 });
    return { status: 200, json: { [this.auth.tokenMember ?? "token"]: token, expires_in: seconds } };
  }

  #knows(authorization: string | undefined, form: URLSearchParams): boolean {
    if (this.auth?.type !== "bearer" || this.auth.username === undefined) return true;
    const { username, password = "" } = this.auth;
    const fromForm = form.get("username") === username && form.get("password") === password;
    const refreshed = form.get("grant_type") === "refresh_token" && form.get("refresh_token") === password;
    return authorization === basic(username, password) || fromForm || refreshed;
  }

  /** Every token issued so far stops working, as when a registry restarts. */
  revokeTokens(): void {
    this.#tokens.clear();
  }
}

function basic(username: string, password: string): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}
