import type { Endpoint, Scheme } from "./endpoint.js";
import { RegistryFailure } from "./failure.js";
import type { Answer } from "./transport.js";

/**
 * Finds out whether a loopback registry speaks http or https, with the first request itself, and remembers it. A TLS
 * server answers plain http by hanging up (Node, OpenSSL) or with 400 (Go, nginx); only then is https tried, and it
 * counts only if it answers. Credentials come later, so none can have gone over the wrong scheme.
 */
export class Schemes {
  readonly #settled = new Map<string, Scheme>();

  async reach(endpoint: Endpoint, ask: (origin: string) => Promise<Answer>): Promise<Answer> {
    const [first, second] = endpoint.schemes;
    const settled = this.#settled.get(endpoint.networkHost);
    if (settled !== undefined || second === undefined) return await ask(originOf(endpoint, settled ?? first));
    const plain = await answerOrFailure(() => ask(originOf(endpoint, first)));
    const isAnswer = !(plain instanceof RegistryFailure);
    if (isAnswer && plain.status !== 400) return this.#settle(endpoint, first, plain);
    const secure = await answerOrFailure(() => ask(originOf(endpoint, second)));
    if (!(secure instanceof RegistryFailure)) {
      if (isAnswer) await plain.discard();
      return this.#settle(endpoint, second, secure);
    }
    if (secure.code === "INTERRUPTED" || isCertificateFailure(secure)) {
      if (isAnswer) await plain.discard();
      throw secure;
    }
    if (isAnswer) return this.#settle(endpoint, first, plain);
    throw plain;
  }

  #settle(endpoint: Endpoint, scheme: Scheme, answer: Answer): Answer {
    this.#settled.set(endpoint.networkHost, scheme);
    return answer;
  }

  /** Where requests to the endpoint go as far as is known: what Authorization is tied to. */
  origin(endpoint: Endpoint): string {
    return originOf(endpoint, this.#settled.get(endpoint.networkHost) ?? endpoint.schemes[0]);
  }
}

function originOf({ networkHost }: Endpoint, scheme: Scheme): string {
  return new URL(`${scheme}//${networkHost}`).origin;
}

async function answerOrFailure(ask: () => Promise<Answer>): Promise<Answer | RegistryFailure> {
  try {
    return await ask();
  } catch (error) {
    // Aborted, refused by policy, or nobody there: another scheme would fare no better.
    if (error instanceof RegistryFailure && error.code === "UNREACHABLE" && isHungUp(error)) return error;
    throw error;
  }
}

function isHungUp({ cause }: RegistryFailure): boolean {
  return !(cause instanceof Error && "code" in cause && cause.code === "ECONNREFUSED");
}

/** It does speak TLS, and that is what the user has to hear about. */
function isCertificateFailure(failure: RegistryFailure): boolean {
  return failure.message.includes("certificate");
}
