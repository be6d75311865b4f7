import { createHash } from "node:crypto";
import type { Limits } from "../../core/limits.js";
import type { Credential } from "../credentials/credential.js";
import type { Clock } from "./clock.js";
import { RegistryFailure } from "./failure.js";
import { sendFollowing } from "./redirects.js";
import type { Retries } from "./retries.js";
import { SingleFlight } from "./single-flight.js";
import { statusFailure } from "./status-failure.js";
import { type GrantedToken, parseTokenAnswer, type TokenWanted, tokenRequests } from "./token-request.js";
import type { Answer, Call, Home, HttpRequest, Transport } from "./transport.js";

interface CachedToken {
  readonly token: string;
  readonly freshUntil: number;
}

/** A token is replaced when this much of its life is over, so that it does not expire on the way. */
const usableShare = 0.8;

/** Statuses of a token service that does not know this way of asking, where the next may work. */
const triesNext = new Set([400, 404, 405]);

export interface TokenOrder extends TokenWanted {
  /** The registry the token is for. */
  readonly host: string;
  readonly home: Home;
  readonly credential: Credential | undefined;
}

/** Buys Bearer tokens and keeps them while they last, in this process only. */
export class TokenService {
  readonly #cached = new Map<string, CachedToken>();
  readonly #flights = new SingleFlight<string>();

  constructor(
    private readonly transport: Transport,
    private readonly retries: Retries,
    private readonly limits: Limits,
    private readonly clock: Clock,
  ) {}

  /** A kept token or a new one; callers at the same moment share one request. Throws UNAUTHORIZED, UNREACHABLE. */
  async token(order: TokenOrder, call: Call): Promise<{ token: string; isNew: boolean }> {
    const key = cacheKey(order);
    const cached = this.#cached.get(key);
    if (cached !== undefined && cached.freshUntil > this.clock.now())
      return { token: cached.token, isNew: false };
    const token = await this.#flights.run(key, call.signal, async (signal) => {
      const granted = await this.#buy(order, { ...call, signal });
      this.#cached.set(key, {
        token: granted.token,
        freshUntil: this.clock.now() + granted.lifetimeMs * usableShare,
      });
      return granted.token;
    });
    return { token, isNew: true };
  }

  /** Forgets a token that a registry refused. */
  drop(token: string): void {
    for (const [key, cached] of this.#cached) if (cached.token === token) this.#cached.delete(key);
  }

  async #buy(order: TokenOrder, call: Call): Promise<GrantedToken> {
    const requests = tokenRequests(order, order.credential);
    for (const [index, form] of requests.entries()) {
      const isLast = index === requests.length - 1;
      const granted = await this.retries.run(order.realm.host, call, () =>
        this.#ask({ ...form, home: order.home, isForToken: true }, order, isLast, call),
      );
      if (granted !== undefined) return granted;
    }
    throw new RegistryFailure("UNAUTHORIZED", `the token service of ${order.host} knows no way to log in`);
  }

  /** Undefined when the service does not know this way of asking and another is left. */
  async #ask(
    request: HttpRequest,
    order: TokenOrder,
    isLast: boolean,
    call: Call,
  ): Promise<GrantedToken | undefined> {
    const answer = await sendFollowing(this.transport, request, call, this.limits.redirects);
    if (answer.status === 200) return await this.#granted(answer, order);
    if (!isLast && triesNext.has(answer.status)) {
      await answer.discard();
      return undefined;
    }
    const failure = await statusFailure(answer, `token for ${order.host}`, this.limits, this.clock.now());
    throw failure.code === "UNREACHABLE" && failure.retryable ? failure : refused(order, failure);
  }

  async #granted(answer: Answer, order: TokenOrder): Promise<GrantedToken> {
    const body = await answer.readAll(this.limits.tokenBytes);
    const granted = body === undefined ? undefined : parseTokenAnswer(body);
    if (granted !== undefined) return granted;
    throw new RegistryFailure(
      "UNAUTHORIZED",
      `the token service ${answer.url.host} of ${order.host} answered without a token`,
    );
  }
}

function refused({ host, credential }: TokenOrder, cause: RegistryFailure): RegistryFailure {
  if (credential === undefined) {
    return new RegistryFailure("UNAUTHORIZED", `${host} gives no token without a login: ${cause.message}`, {
      cause,
      hint: `Log in with docker login ${host} or podman login ${host}.`,
    });
  }
  return new RegistryFailure(
    "UNAUTHORIZED",
    `${host} refuses the credentials from ${credential.from}: ${cause.message}`,
    { cause, hint: `Log in again with docker login ${host}, or log out to pull anonymously.` },
  );
}

/** Who asks is part of the key, as a hash: a token bought with one login is never shown for another. */
function cacheKey({ host, realm, service, scope, credential }: TokenOrder): string {
  const identity = createHash("sha256")
    .update(JSON.stringify(credential ?? null))
    .digest("base64");
  return JSON.stringify([host, realm.href, service ?? null, scope, identity]);
}
