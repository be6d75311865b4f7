import type { Limits } from "../../core/limits.js";
import type { Authorization, Authorizer, Protected } from "./authorizer.js";
import type { Clock } from "./clock.js";
import { type Endpoint, urlAt } from "./endpoint.js";
import { RegistryFailure } from "./failure.js";
import { FirstContact } from "./first-contact.js";
import { header } from "./headers.js";
import { sendFollowing } from "./redirects.js";
import type { Retries } from "./retries.js";
import type { Schemes } from "./schemes.js";
import { statusFailure } from "./status-failure.js";
import type { Answer, Call, Home, Transport } from "./transport.js";
import type { Warnings } from "./warnings.js";

/** One thing wanted from a repository. */
export interface RegistryRequest {
  readonly method: "GET" | "HEAD";
  readonly endpoint: Endpoint;
  /** Below the path of the endpoint's repository, such as `/v2/org/program/`. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Statuses that are an answer; all others become errors. */
  readonly accepts: readonly number[];
  /** Names the thing in messages: `manifest latest of org/program`. */
  readonly what: string;
}

/** Stale token, then a scope it lacks: nothing needs a third challenge. */
const maxChallenges = 2;

/** The registry protocol's manners around one request: authentication, redirects, retries, errors. */
export class RegistryClient {
  readonly #firstContact = new FirstContact();

  constructor(
    private readonly transport: Transport,
    private readonly authorizer: Authorizer,
    private readonly retries: Retries,
    private readonly schemes: Schemes,
    private readonly warnings: Warnings,
    private readonly limits: Limits,
    private readonly clock: Clock,
  ) {}

  /**
   * Sends the request until an accepted answer came and `use` is through with it. `use` reads the answer inside the
   * retry loop, so a body that breaks off is asked for again; when it hands the answer on, the body is the caller's.
   */
  async perform<T>(request: RegistryRequest, call: Call, use: (answer: Answer) => Promise<T>): Promise<T> {
    const attempt = async (): Promise<T> => {
      const answer = await this.#authorized(request, call);
      this.warnings.show(answer, request.endpoint.host, call);
      if (!request.accepts.includes(answer.status)) {
        throw await statusFailure(answer, request.what, this.limits, this.clock.now());
      }
      await refuseEncoding(answer);
      return await use(answer);
    };
    return await this.retries.run(request.endpoint.networkHost, call, attempt, { takesTurns: true });
  }

  async #authorized(request: RegistryRequest, call: Call): Promise<Answer> {
    const { host } = request.endpoint;
    if (this.authorizer.knows(host)) return await this.#converse(request, call, () => undefined);
    const met = await this.#firstContact.enter(host, call.signal);
    try {
      return await this.#converse(request, call, met);
    } finally {
      met();
    }
  }

  /** Asks, and asks again as often as a challenge can be met. Calls `heard` once the registry's first word is known. */
  async #converse(request: RegistryRequest, call: Call, heard: () => void): Promise<Answer> {
    let authorization = await this.authorizer.foreseen(this.#protected(request), call);
    for (let challenges = 0; ; challenges += 1) {
      const answer = await this.#send(request, authorization, call);
      const wanted = this.#protected(request);
      if (challenges === maxChallenges || !isChallenge(answer, wanted.origin)) return answer;
      await answer.keepBeginning(this.limits.errorBodyBytes);
      const answering = this.authorizer.answerTo(answer, authorization, wanted, call);
      heard();
      authorization = await answering;
      if (authorization === undefined) return answer;
    }
  }

  async #send(
    request: RegistryRequest,
    authorization: Authorization | undefined,
    call: Call,
  ): Promise<Answer> {
    const { endpoint, method, path } = request;
    const identity: Record<string, string> =
      authorization === undefined ? {} : { authorization: authorization.header };
    return await this.schemes.reach(endpoint, (origin) =>
      sendFollowing(
        this.transport,
        {
          method,
          url: urlAt(endpoint, origin, path),
          headers: { ...request.headers, ...identity },
          home: homeOf(endpoint, origin),
        },
        call,
        this.limits.redirects,
      ),
    );
  }

  #protected({ endpoint }: RegistryRequest): Protected {
    const { host, repository } = endpoint;
    return { host, repository, ...homeOf(endpoint, this.schemes.origin(endpoint)) };
  }
}

function homeOf({ isLocal, headers, connection }: Endpoint, origin: string): Home {
  return { origin, isLocal, headers, connection };
}

/** A 401 after a redirect to elsewhere is none of ours: answering it would hand our credentials over (CVE-2020-15157). */
function isChallenge({ status, url, headers }: Answer, origin: string): boolean {
  if (url.origin !== origin) return false;
  return status === 401 || (status === 403 && header(headers, "www-authenticate") !== undefined);
}

async function refuseEncoding(answer: Answer): Promise<void> {
  const encoding = header(answer.headers, "content-encoding")?.trim().toLowerCase();
  if (encoding === undefined || encoding === "" || encoding === "identity") return;
  await answer.discard();
  throw new RegistryFailure(
    "INVALID_IMAGE",
    `${answer.url.host} compressed its answer (${encoding.slice(0, 40)}) though asked not to`,
    { hint: "A proxy in between may do this; the digest could not be checked." },
  );
}
