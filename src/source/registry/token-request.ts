import { z } from "zod";
import type { Credential } from "../credentials/credential.js";
import type { HttpRequest } from "./transport.js";

/** What a token is asked for with (distribution, "Token Authentication Specification"). */
export interface TokenWanted {
  readonly realm: URL;
  readonly service: string | undefined;
  readonly scope: string;
}

type Form = Pick<HttpRequest, "method" | "url" | "headers" | "body">;

const clientId = "bpfcache";

/**
 * The requests to try, in order: a service that does not know the first kind (404, 405; 400 for a form) gets the next.
 * An identity token is an OAuth2 refresh token and goes by POST; GET is what every registry has for the rest.
 */
export function tokenRequests(wanted: TokenWanted, credential: Credential | undefined): readonly Form[] {
  if (credential === undefined || credential.kind === "registry-token") return [tokenGet(wanted)];
  if (credential.kind === "identity-token") {
    const form = { grant_type: "refresh_token", refresh_token: credential.token };
    return [tokenPost(wanted, form), tokenGet(wanted, { username: "<token>", password: credential.token })];
  }
  const { username, password } = credential;
  return [tokenGet(wanted, credential), tokenPost(wanted, { grant_type: "password", username, password })];
}

function tokenGet(wanted: TokenWanted, user?: { username: string; password: string }): Form {
  const url = new URL(wanted.realm);
  if (wanted.service !== undefined) url.searchParams.set("service", wanted.service);
  for (const scope of wanted.scope.split(" ")) if (scope !== "") url.searchParams.append("scope", scope);
  if (user === undefined) return { method: "GET", url, headers: {} };
  if (user.username !== "<token>") url.searchParams.set("account", user.username);
  return { method: "GET", url, headers: { authorization: basicAuthorization(user) } };
}

function tokenPost(wanted: TokenWanted, grant: Record<string, string>): Form {
  const form = new URLSearchParams({ ...grant, client_id: clientId, scope: wanted.scope });
  if (wanted.service !== undefined) form.set("service", wanted.service);
  return {
    method: "POST",
    url: wanted.realm,
    headers: { "content-type": "application/x-www-form-urlencoded" },
    body: form.toString(),
  };
}

export function basicAuthorization({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString("base64")}`;
}

const usableToken = z.string().regex(/^[\x21-\x7e]{1,32768}$/);

/** Either name may carry the token, and some services send both or leave one empty. */
const answerSchema = z.object({
  token: usableToken.optional().catch(undefined),
  access_token: usableToken.optional().catch(undefined),
  expires_in: z.coerce.number().positive().optional().catch(undefined),
});

export interface GrantedToken {
  readonly token: string;
  readonly lifetimeMs: number;
}

/** The specification's least: a shorter life would have us ask again for every request. */
const leastLifetimeMs = 60_000;

/** The token in a service's answer, or undefined when there is none. */
export function parseTokenAnswer(body: Uint8Array): GrantedToken | undefined {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined;
  }
  const answer = answerSchema.safeParse(json);
  const token = answer.data?.token ?? answer.data?.access_token;
  if (token === undefined) return undefined;
  return { token, lifetimeMs: Math.max(leastLifetimeMs, (answer.data?.expires_in ?? 0) * 1_000) };
}
