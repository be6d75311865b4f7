import type { Scheme } from "../locations/location.js";
import type { Endpoint } from "./endpoint.js";
import { NetworkFailure } from "./network-failure.js";
import type { Answer } from "./transport.js";

type Outcome = Answer | NetworkFailure;

/**
 * Finds out whether a registry that may speak http or https speaks the one or the other, with the first request itself,
 * and remembers it. A TLS server answers plain http by hanging up (Node, OpenSSL) or with 400 (Go, nginx); only then is
 * https tried, and it counts only if it answers. Down to http it goes only on this machine, or for a host that the user's
 * own configuration calls insecure, and never because of a certificate.
 */
export class Schemes {
  readonly #settled = new Map<string, Scheme>();

  async reach(endpoint: Endpoint, ask: (origin: string) => Promise<Answer>): Promise<Answer> {
    const [first, second] = endpoint.schemes;
    const settled = this.#settled.get(keyOf(endpoint));
    if (settled !== undefined || second === undefined) return await ask(originOf(endpoint, settled ?? first));
    const tried = await outcomeOf(ask(originOf(endpoint, first)));
    const maySpeakOther = first === "http:" ? mayBeTls(tried) : mayBePlain(tried);
    if (!maySpeakOther) return this.#settle(endpoint, first, tried);
    const other = await outcomeOf(ask(originOf(endpoint, second)));
    const speaksOther = !(other instanceof NetworkFailure) || other.isAboutCertificate;
    if (!speaksOther) return this.#settle(endpoint, first, tried);
    if (!(tried instanceof NetworkFailure)) await tried.discard();
    return this.#settle(endpoint, second, other);
  }

  /** Where requests to the endpoint go as far as is known: what Authorization is tied to. */
  origin(endpoint: Endpoint): string {
    return originOf(endpoint, this.#settled.get(keyOf(endpoint)) ?? endpoint.schemes[0]);
  }

  #settle(endpoint: Endpoint, scheme: Scheme, outcome: Outcome): Answer {
    if (outcome instanceof NetworkFailure && !outcome.isAboutCertificate) throw outcome;
    this.#settled.set(keyOf(endpoint), scheme);
    if (outcome instanceof NetworkFailure) throw outcome;
    return outcome;
  }
}

/** What was found out where both may be spoken says nothing to those who were told to speak one. */
function keyOf({ networkHost, schemes }: Endpoint): string {
  return `${schemes.join("")}//${networkHost}`;
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

/** https may be at a port where nothing listens, and http at its own, when the configuration names none. */
function mayBePlain(outcome: Outcome): boolean {
  return outcome instanceof NetworkFailure && !outcome.isTimeout && !outcome.isAboutCertificate;
}

function mayBeTls(outcome: Outcome): boolean {
  return outcome instanceof NetworkFailure ? outcome.systemCode !== "ECONNREFUSED" : outcome.status === 400;
}
