import { throwIfAborted } from "../../core/errors.js";
import type { Credential, CredentialProvider } from "../credentials/credential.js";
import { BatchScopes, isBatchScope, pullScope } from "./batch-scopes.js";
import { type Challenge, parseChallenges, preferredChallenge } from "./challenge.js";
import type { ChallengeMemory, KnownChallenge } from "./challenge-memory.js";
import { RegistryFailure } from "./failure.js";
import { headerValues } from "./headers.js";
import { checkRealm } from "./realm.js";
import { SingleFlight } from "./single-flight.js";
import { basicAuthorization } from "./token-request.js";
import type { TokenService } from "./token-service.js";
import type { Answer, Call, Home } from "./transport.js";

/** What is asked of which registry: a token is good for one repository. */
export interface Protected extends Home {
  readonly host: string;
  readonly repository: string;
}

/** An Authorization header, and where it stands in the dialogue. */
export interface Authorization {
  readonly header: string;
  /** Got for this very request: when it is refused, getting another one like it is in vain. */
  readonly isNew: boolean;
  readonly scope?: string;
  readonly token?: string;
}

/**
 * Decides what Authorization a request carries. A registry is asked anonymously first; its challenge is remembered,
 * so later requests, for other repositories too, carry the right header at once.
 */
export class Authorizer {
  readonly #tokens: TokenService;
  readonly #credentials: CredentialProvider;
  readonly #memory: ChallengeMemory;
  /** The scope a repository's challenge asked for, where it differs from the usual one. */
  readonly #scopes = new Map<string, string>();
  /** Looked up once a repository, because a helper program may be behind it. */
  readonly #found = new Map<string, Credential>();
  readonly #lookups = new SingleFlight<Credential | undefined>();

  /** Repositories that one token is bought for. */
  readonly batches = new BatchScopes();

  constructor(tokens: TokenService, credentials: CredentialProvider, memory: ChallengeMemory) {
    this.#tokens = tokens;
    this.#credentials = credentials;
    this.#memory = memory;
  }

  /** Whether the registry has said how it wants to be authenticated to. */
  knows(host: string): boolean {
    return this.#memory.get(host) !== undefined;
  }

  /** What to send before being asked: undefined while the registry has not said that it wants anything. */
  async foreseen(wanted: Protected, call: Call): Promise<Authorization | undefined> {
    const known = this.#memory.get(wanted.host);
    if (known === undefined) return undefined;
    try {
      const scope = this.#scopes.get(nameOf(wanted)) ?? known.fixedScope ?? usualScope(wanted);
      return await this.#batchAuthorization(known, scope, wanted, call);
    } catch (error) {
      throwIfAborted(call.signal);
      // What was remembered may be out of date; the next request shall ask the registry again.
      this.#found.delete(nameOf(wanted));
      this.#memory.set(wanted.host, undefined);
      throw error;
    }
  }

  /**
   * The answer to a 401 or 403 whose challenge we can meet, or undefined to let it stand. The challenge is remembered
   * before this waits for anything.
   */
  async answerTo(
    refusal: Answer,
    refused: Authorization | undefined,
    wanted: Protected,
    call: Call,
  ): Promise<Authorization | undefined> {
    const challenge = preferredChallenge(parseChallenges(headerValues(refusal.headers, "www-authenticate")));
    if (challenge === undefined) return undefined;
    const wasForBatch = isBatchScope(refused?.scope);
    // The token may be right for the others of its batch.
    if (wasForBatch) this.batches.giveUp(wanted.host);
    else if (refused?.token !== undefined) this.#tokens.drop(refused.token);
    const scope = challenge.parameters["scope"] || usualScope(wanted);
    const lacksScope =
      wasForBatch || (challenge.parameters["error"] === "insufficient_scope" && scope !== refused?.scope);
    if (refused?.isNew === true && !lacksScope) return undefined;
    const known = knownChallenge(challenge, scope);
    this.#memory.set(wanted.host, known);
    if (scope !== usualScope(wanted)) this.#scopes.set(nameOf(wanted), scope);
    // A refused password is looked up again next time: it may have been changed where it is kept.
    if (refused !== undefined && !lacksScope) this.#found.delete(nameOf(wanted));
    const next = await this.#batchAuthorization(known, scope, wanted, call);
    return next?.header === refused?.header ? undefined : next;
  }

  /** One token for a whole batch where the registry grants it, else one for this repository. */
  async #batchAuthorization(
    known: KnownChallenge,
    scope: string,
    wanted: Protected,
    call: Call,
  ): Promise<Authorization | undefined> {
    const batch = scope === usualScope(wanted) ? this.batches.scopeFor(wanted) : undefined;
    if (batch !== undefined) {
      try {
        return await this.#authorization(known, batch, wanted, call);
      } catch (error) {
        if (!(error instanceof RegistryFailure) || error.code !== "UNAUTHORIZED") throw error;
        this.batches.giveUp(wanted.host);
      }
    }
    return await this.#authorization(known, scope, wanted, call);
  }

  async #authorization(
    known: KnownChallenge,
    scope: string,
    wanted: Protected,
    call: Call,
  ): Promise<Authorization | undefined> {
    const credential = await this.#credential(wanted, call.signal);
    if (credential?.kind === "registry-token") {
      return { header: `Bearer ${credential.token}`, isNew: true };
    }
    if (known.scheme === "basic") {
      if (credential === undefined) return undefined;
      if (credential.kind === "password") return { header: basicAuthorization(credential), isNew: false };
      throw new RegistryFailure(
        "UNAUTHORIZED",
        `${wanted.host} wants a user name and a password, but ${credential.from} has only a token`,
      );
    }
    const { token, isNew } = await this.#tokens.token(
      {
        host: wanted.host,
        realm: checkRealm(known.realm, wanted),
        service: known.service,
        scope,
        credential,
        home: wanted,
      },
      call,
    );
    return { header: `Bearer ${token}`, isNew, scope, token };
  }

  async #credential(wanted: Protected, signal: AbortSignal | undefined): Promise<Credential | undefined> {
    const name = nameOf(wanted);
    const kept = this.#found.get(name);
    if (kept !== undefined) return kept;
    return await this.#lookups.run(name, signal, async (shared) => {
      const found = await this.#credentials.credentialFor(wanted.host, wanted.repository, shared);
      if (found !== undefined) this.#found.set(name, found);
      return found;
    });
  }
}

function nameOf({ host, repository }: Protected): string {
  return `${host}/${repository}`;
}

function usualScope({ repository }: Protected): string {
  return pullScope(repository);
}

function knownChallenge({ scheme, parameters }: Challenge, scope: string): KnownChallenge {
  return {
    scheme: scheme === "basic" ? "basic" : "bearer",
    realm: parameters["realm"] ?? "",
    service: parameters["service"],
    fixedScope: scope.startsWith("repository:") ? undefined : scope,
  };
}
