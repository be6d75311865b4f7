import type { Endpoint, Scheme } from "./endpoint.js";
import { NetworkFailure } from "./network-failure.js";
import type { Answer } from "./transport.js";

type Outcome = Answer | NetworkFailure;

/**
 * Finds out whether a loopback registry speaks http or https, with the first request itself, and remembers it. A TLS
 * server answers plain http by hanging up (Node, OpenSSL) or with 400 (Go, nginx); only then is https tried, and it
 * counts only if it answers. Nothing of this leaves the machine, and it only ever goes up to https.
 */
export class Schemes {
  readonly #settled = new Map<string, Scheme>();

  async reach(endpoint: Endpoint, ask: (origin: string) => Promise<Answer>): Promise<Answer> {
    const [first, second] = endpoint.schemes;
    const settled = this.#settled.get(endpoint.networkHost);
    if (settled !== undefined || second === undefined) return await ask(originOf(endpoint, settled ?? first));
    const plain = await outcomeOf(ask(originOf(endpoint, first)));
    if (!mayBeTls(plain)) return this.#settle(endpoint, first, plain);
    const secure = await outcomeOf(ask(originOf(endpoint, second)));
    const speaksTls = !(secure instanceof NetworkFailure) || secure.isAboutCertificate;
    if (!speaksTls) return this.#settle(endpoint, first, plain);
    if (!(plain instanceof NetworkFailure)) await plain.discard();
    return this.#settle(endpoint, second, secure);
  }

  /** Where requests to the endpoint go as far as is known: what Authorization is tied to. */
  origin(endpoint: Endpoint): string {
    return originOf(endpoint, this.#settled.get(endpoint.networkHost) ?? endpoint.schemes[0]);
  }

  #settle(endpoint: Endpoint, scheme: Scheme, outcome: Outcome): Answer {
    if (outcome instanceof NetworkFailure && !outcome.isAboutCertificate) throw outcome;
    this.#settled.set(endpoint.networkHost, scheme);
    if (outcome instanceof NetworkFailure) throw outcome;
    return outcome;
  }
}

function originOf({ networkHost }: Endpoint, scheme: Scheme): string {
  return new URL(`${scheme}//${networkHost}`).origin;
}

/** Failures that are not the network's (aborted, refused by policy) say nothing about the scheme, and stand. */
async function outcomeOf(asked: Promise<Answer>): Promise<Outcome> {
  try {
    return await asked;
  } catch (error) {
    if (error instanceof NetworkFailure) return error;
    throw error;
  }
}

function mayBeTls(outcome: Outcome): boolean {
  return outcome instanceof NetworkFailure ? outcome.systemCode !== "ECONNREFUSED" : outcome.status === 400;
}
