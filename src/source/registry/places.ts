import { BpfcacheError, type ErrorCode } from "../../core/errors.js";
import { emit } from "../../core/events.js";
import type { Reference } from "../../core/reference.js";
import type { Capability } from "../locations/location.js";
import type { Locations } from "../locations/locations.js";
import type { Clock } from "./clock.js";
import { type Endpoint, endpointOf, type SchemePreferences } from "./endpoint.js";
import { RegistryFailure } from "./failure.js";
import { RestingHosts } from "./resting-hosts.js";
import type { Call, Patience } from "./transport.js";
import type { Warnings } from "./warnings.js";

/** One place, at its turn. */
export interface Turn {
  readonly endpoint: Endpoint;
  readonly call: Call;
  /** Others are left to ask, so an answer has to be checked before it is taken. */
  readonly isMirror: boolean;
}

interface Failed {
  readonly endpoint: Endpoint;
  readonly failure: BpfcacheError;
}

/** Failures of one place, which say nothing of the others. What the user did or has to mend is not among them. */
const passing: ReadonlySet<ErrorCode> = new Set([
  "UNREACHABLE",
  "NOT_FOUND",
  "UNAUTHORIZED",
  "INVALID_IMAGE",
  "DIGEST_MISMATCH",
  "TOOL_FAILED",
]);

/** One more try mends a connection that was about to be closed; anything longer is the next place's time. */
const mirrorPatience: Patience = { retries: 1, longestWaitMs: 1_000 };

/** Asks the places of a reference in their order: mirrors first, until one has it, the registry itself last. */
export class Places {
  readonly #resting: RestingHosts;

  constructor(
    private readonly locations: Locations,
    private readonly preferences: SchemePreferences,
    private readonly warnings: Warnings,
    clock: Clock,
  ) {
    this.#resting = new RestingHosts(clock);
  }

  /**
   * The first answer there is. When nobody has one, throws what the last place, the registry itself, said, with what
   * the mirrors said in the message. Throws USAGE when the reference is blocked or the configuration is wrong.
   */
  async ask<T>(
    reference: Reference,
    capability: Capability,
    call: Call,
    ask: (turn: Turn) => Promise<T>,
  ): Promise<T> {
    const { mirrors, upstream } = this.#placesFor(reference, capability);
    if (mirrors.length === 0) return await ask({ endpoint: upstream, isMirror: false, call });
    const failed: Failed[] = [];
    for (const endpoint of this.#inOrder(mirrors, upstream, failed)) {
      const isMirror = endpoint !== upstream;
      try {
        const answer = await ask({
          endpoint,
          isMirror,
          call: isMirror ? { ...call, patience: mirrorPatience, isOfMirror: true } : call,
        });
        this.#resting.answered(endpoint.networkHost);
        return answer;
      } catch (error) {
        if (!(error instanceof BpfcacheError) || !passing.has(error.code)) throw error;
        failed.push({ endpoint, failure: error });
        if (isMirror) this.#passOver(endpoint, error, failed.length, call);
      }
    }
    throw allFailed(failed, upstream);
  }

  /**
   * Mirrors at rest come last: better one that failed a while ago than none. Where the registry itself has said no,
   * they are not asked, but counted among those that failed.
   */
  *#inOrder(mirrors: readonly Endpoint[], upstream: Endpoint, failed: Failed[]): Generator<Endpoint> {
    const resting: Failed[] = [];
    for (const endpoint of mirrors) {
      const failure = this.#resting.reason(endpoint.networkHost);
      if (failure === undefined) yield endpoint;
      else resting.push({ endpoint, failure });
    }
    yield upstream;
    if (failed.at(-1)?.failure.code === "UNREACHABLE") yield* resting.map(({ endpoint }) => endpoint);
    else failed.push(...resting);
  }

  #placesFor(
    reference: Reference,
    capability: Capability,
  ): { readonly mirrors: readonly Endpoint[]; readonly upstream: Endpoint } {
    const all = this.locations.locationsOf(reference);
    const able = all.filter(({ capabilities }) => capabilities.has(capability));
    // "referrers" is younger than the others: where nobody is said to have it, those who resolve are asked.
    const asked =
      able.length > 0 || capability !== "referrers"
        ? able
        : all.filter(({ capabilities }) => capabilities.has("resolve"));
    const [upstream, ...mirrors] = asked.map((location) => endpointOf(location, this.preferences)).reverse();
    if (upstream === undefined) throw nobodyMay(reference, capability);
    return { mirrors: mirrors.reverse(), upstream };
  }

  #passOver({ networkHost }: Endpoint, failure: BpfcacheError, attempt: number, call: Call): void {
    if (failure instanceof RegistryFailure) this.#resting.failed(networkHost, failure);
    const { reference } = call;
    const { message: reason, code } = failure;
    emit(call.onEvent, { event: "retry", reference, url: networkHost, attempt, delayMs: 0, reason, code });
    if (failure.code === "DIGEST_MISMATCH" || failure.code === "INVALID_IMAGE") {
      this.warnings.warn(`the mirror ${networkHost} is passed over: ${reason}`, call);
    }
  }
}

function allFailed(failed: readonly Failed[], upstream: Endpoint): BpfcacheError {
  const lead = failed.find(({ endpoint }) => endpoint === upstream)?.failure;
  const mirrors = failed.filter(({ endpoint }) => endpoint !== upstream).map(named);
  if (lead === undefined) return new BpfcacheError("INTERNAL", "the registry itself was not asked");
  const { code, hint, expected, found } = lead;
  const message =
    mirrors.length === 0 ? lead.message : `${lead.message}; mirrors asked before: ${mirrors.join("; ")}`;
  return new BpfcacheError(code, message, { cause: lead, hint, expected, found });
}

function named({ endpoint: { networkHost }, failure: { message } }: Failed): string {
  return message.includes(networkHost) ? message : `${networkHost}: ${message}`;
}

function nobodyMay(reference: Reference, capability: Capability): BpfcacheError {
  const what =
    capability === "resolve" ? "what a tag names" : capability === "pull" ? "content" : "referrers";
  return new BpfcacheError("USAGE", `no place for ${reference.host} may be asked for ${what}`, {
    hint: 'The capabilities in its hosts.toml leave that out; add "resolve" or "pull", or name a server.',
  });
}
