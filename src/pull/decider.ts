import type { Digest } from "../core/digest.js";
import { type EventSink, emit } from "../core/events.js";
import type { Limits } from "../core/limits.js";
import type { Reference } from "../core/reference.js";
import type { Approval } from "../store/publish.js";
import type { VerdictRecord } from "../store/records.js";
import type { Store } from "../store/store.js";
import type { Decision } from "../trust/decide.js";
import { isSignatureDocument, type SignatureDocument, signatureDocument } from "../trust/document.js";
import { refusal, type Trust, toJudgement } from "../trust/trust.js";
import type { Content } from "./content.js";
import { type FoundReferrers, findReferrers } from "./referrers.js";
import type { PullRequest } from "./request.js";

/** A decision, and the documents that it took besides those that are here. */
export interface Decided {
  readonly decision: Decision;
  readonly found: FoundReferrers;
}

/** Decides on a root before anything of it is fetched: by what is here, then by what the source has that signs it. */
export class Decider {
  readonly #store: Store;
  readonly #limits: Limits;
  readonly #trust: Trust;
  readonly #content: Content;
  readonly #request: PullRequest;

  constructor(store: Store, limits: Limits, trust: Trust, content: Content, request: PullRequest) {
    this.#store = store;
    this.#limits = limits;
    this.#trust = trust;
    this.#content = content;
    this.#request = request;
  }

  /** Throws UNTRUSTED; and what the source throws when it cannot say what signs the root: that is not "unsigned". */
  async approve(root: Digest, bytes?: Uint8Array): Promise<Approval> {
    const { reference, onEvent } = this.#request;
    const before = this.#trust.approved(reference, root);
    // A warning may be over by now: the signature that was missing may be there.
    if (before?.decision === "accept") {
      emitDecided(onEvent, reference, root, before);
      return { verdict: before, referrers: [] };
    }
    const { decision, found } = await this.decide(root, bytes);
    const verdict = this.#trust.verdictOf(decision, root);
    emitDecided(onEvent, reference, root, verdict ?? decision);
    if (verdict === undefined) throw refusal(decision, reference);
    warnIfRefused(verdict, reference, onEvent);
    return { verdict, referrers: found.referrers };
  }

  /** The source is asked only when what is here does not do. */
  async decide(root: Digest, bytes?: Uint8Array): Promise<Decided> {
    const { reference, source } = this.#request;
    const mayAsk = source.referrers !== undefined;
    if (mayAsk && this.#trust.asksForCertificates(reference) && source.isLocal !== true)
      await this.#trust.roots.refresh(this.#store, (message) => this.#warn(message));
    const here = this.#trust.documentsHere(reference, root);
    const byWhatIsHere = this.#trust.decide(reference, root, here, bytes);
    const isSettled = byWhatIsHere.decision === "accept" || !this.#trust.asksForSignatures(reference);
    if (isSettled || !mayAsk) return { decision: byWhatIsHere, found: { referrers: [], faults: [] } };
    const found = await this.#content.referrersOf(root, (signal) =>
      findReferrers(this.#store, this.#limits, this.#content, { ...this.#request, signal }, root),
    );
    const documents = [...here, ...documentsIn(found)];
    return { decision: this.#trust.decide(reference, root, documents, bytes), found };
  }

  #warn(message: string): void {
    const { onEvent, reference } = this.#request;
    emit(onEvent, { event: "warning", reference: reference.toString(), message });
  }
}

/** Of those that cannot be used it is not known whether they are signatures: they may be, and are said to be no good. */
function documentsIn({ referrers, faults }: FoundReferrers): SignatureDocument[] {
  return [
    ...referrers.filter(({ record }) => isSignatureDocument(record)).map(signatureDocument),
    ...faults.map(({ digest, reason }) => ({ digest, kind: "document", layers: [], fault: reason })),
  ];
}

export function emitDecided(
  onEvent: EventSink | undefined,
  reference: Reference,
  root: Digest,
  said: VerdictRecord | Decision,
): void {
  const about = { reference: reference.toString(), digest: root };
  emit(onEvent, { event: "decided", ...about, ...toJudgement(said) });
}

/** What a policy would refuse, did it not only want to warn. */
export function warnIfRefused(
  { decision, reason }: VerdictRecord,
  reference: Reference,
  onEvent: EventSink | undefined,
): void {
  if (decision !== "warn") return;
  const message = `the trust policy would refuse the image: ${reason}`;
  emit(onEvent, { event: "warning", reference: reference.toString(), message });
}
