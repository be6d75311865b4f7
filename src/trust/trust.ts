import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import type { Reference } from "../core/reference.js";
import { coveredBy } from "../core/reference-prefix.js";
import type { ReferrerRecord, VerdictRecord } from "../store/records.js";
import type { Store } from "../store/store.js";
import { toVerdict, type Verdict } from "../store/verdicts.js";
import { type Decision, decide } from "./decide.js";
import {
  brokenDocument,
  isSignatureDocument,
  type SignatureDocument,
  signatureDocument,
} from "./document.js";
import { type Action, loadPolicy, type Policy, type Rule, type TrustOptions } from "./policy.js";
import { TrustedRoots } from "./trusted-roots.js";

/** A loader that reads the same few images for ever needs few. */
const keptInMemory = 4_096;

/** A verdict as it is printed, or a refusal, which is kept nowhere. */
export interface Judgement extends Omit<Verdict, "decision"> {
  readonly decision: Action;
}

/** What a decision needs of a store; one that only reads has it too. */
export type EvidenceStore = Pick<Store, "verdict" | "trustedRoot" | "manifest" | "blob" | "referrersOf">;

/**
 * The policy in force over one store. It decides on root digests: on what an image's signatures are over, and from
 * which all of it follows. A decision is made once for a root and a policy and kept with the image; by another policy
 * it is made anew, from the signatures that are kept with the image too, so that neither needs a network.
 */
export class Trust {
  readonly #store: EvidenceStore;
  readonly #policy: Policy;
  readonly roots: TrustedRoots;
  readonly #rules = new Map<string, Rule | undefined>();
  readonly #approved = new Map<string, VerdictRecord>();

  private constructor(store: EvidenceStore, policy: Policy) {
    this.#store = store;
    this.#policy = policy;
    this.roots = new TrustedRoots(store, policy.roots);
  }

  /** Undefined when the options name no policy. Throws USAGE. */
  static open(store: EvidenceStore, options: TrustOptions | undefined): Trust | undefined {
    const policy = loadPolicy(options);
    return policy && new Trust(store, policy);
  }

  /** Whether it depends on signatures what becomes of images under this reference. */
  asksForSignatures(reference: Reference): boolean {
    return (this.#ruleFor(reference)?.conditions?.needed ?? 0) > 0;
  }

  asksForCertificates(reference: Reference): boolean {
    const signers = this.#ruleFor(reference)?.conditions?.signers ?? [];
    return signers.some(({ kind }) => kind === "identity");
  }

  /** Throws UNTRUSTED for a root that may not be used under this reference. Nothing is waited for. */
  readonly require = (reference: Reference, root: Digest): void => {
    if (this.approved(reference, root) === undefined)
      throw refusal(this.decideHere(reference, root), reference);
  };

  /** That the root may be used, decided before or by what is here; undefined when it may not. */
  approved(reference: Reference, root: Digest): VerdictRecord | undefined {
    const key = `${reference.name} ${reference.tag} ${root}`;
    const known = this.#approved.get(key);
    if (known !== undefined) return known;
    const verdict = this.#kept(reference, root) ?? this.verdictOf(this.decideHere(reference, root), root);
    if (verdict !== undefined) this.#remember(key, verdict);
    return verdict;
  }

  /** What the policy says of the root under this reference, by what is here. */
  judge(reference: Reference, root: Digest): Judgement {
    return toJudgement(this.approved(reference, root) ?? this.decideHere(reference, root));
  }

  /** By what is kept with the image, whatever was decided before. */
  decideHere(reference: Reference, root: Digest): Decision {
    return this.decide(reference, root, this.documentsHere(reference, root));
  }

  decide(
    reference: Reference,
    root: Digest,
    documents: readonly SignatureDocument[],
    rootBytes?: Uint8Array,
  ): Decision {
    const bytes = (): Uint8Array | undefined => rootBytes ?? this.#store.manifest(root)?.bytes;
    const keyless = (): ReturnType<TrustedRoots["verifier"]> => this.roots.verifier();
    const evidence = { subject: { digest: root, bytes }, documents, keyless };
    return decide(this.#policy, this.#ruleFor(reference), reference, evidence);
  }

  /** The signatures kept with the root, where it depends on them. */
  documentsHere(reference: Reference, root: Digest): SignatureDocument[] {
    if (!this.asksForSignatures(reference)) return [];
    return this.#store
      .referrersOf(root)
      .filter(isSignatureDocument)
      .map((record) => this.#documentHere(record));
  }

  /** What is kept of a decision; a refusal is not. */
  verdictOf({ decision, rule, reason, signers, policy }: Decision, root: Digest): VerdictRecord | undefined {
    if (decision === "reject") return undefined;
    return { root, policy, rule: rule ?? "", decision, reason, signers, decidedAt: Date.now() };
  }

  #kept(reference: Reference, root: Digest): VerdictRecord | undefined {
    const rule = this.#ruleFor(reference);
    // One rule may allow some of a repository's references and not others.
    if (rule?.conditions?.references !== undefined) return undefined;
    return this.#store.verdict(root, this.#policy.fingerprint, rule?.scope ?? "");
  }

  #documentHere(record: ReferrerRecord): SignatureDocument {
    try {
      const manifest = this.#store.manifest(record.digest)?.bytes;
      const blobs = record.blobs.map(({ kind, digest }) => this.#store.blob(kind, digest));
      if (manifest === undefined || !blobs.every((bytes) => bytes !== undefined))
        return brokenDocument(record, "something of it is missing in the cache");
      return signatureDocument({ record, manifest, blobs });
    } catch (error) {
      if (!(error instanceof BpfcacheError) || error.code !== "CACHE_CORRUPT") throw error;
      return brokenDocument(record, "it is damaged in the cache");
    }
  }

  #remember(key: string, verdict: VerdictRecord): void {
    if (this.#approved.size >= keptInMemory) this.#approved.clear();
    this.#approved.set(key, verdict);
  }

  #ruleFor({ name }: Reference): Rule | undefined {
    if (this.#rules.has(name)) return this.#rules.get(name);
    const rule = mostSpecific(this.#policy.rules, name);
    if (this.#rules.size >= keptInMemory) this.#rules.clear();
    this.#rules.set(name, rule);
    return rule;
  }
}

/** The rule that covers most of a name; of two that cover as much, one that spells the host out, or more of it. */
export function mostSpecific(rules: readonly Rule[], name: string): Rule | undefined {
  const [best] = rules
    .map((rule) => ({ rule, covered: coveredBy(rule.scope, name), isWild: rule.scope.startsWith("*.") }))
    .filter(({ covered }) => covered !== undefined)
    .sort(
      (a, b) =>
        (b.covered ?? 0) - (a.covered ?? 0) ||
        Number(a.isWild) - Number(b.isWild) ||
        b.rule.scope.length - a.rule.scope.length,
    );
  return best?.rule;
}

export function toJudgement(said: VerdictRecord | Decision): Judgement {
  if ("decidedAt" in said) return toVerdict(said);
  const { decision, rule, reason, signers, policy } = said;
  return { decision, rule, reason, signers, policy, decidedAt: new Date().toISOString() };
}

export function refusal({ reason }: Decision, reference: Reference): BpfcacheError {
  return new BpfcacheError("UNTRUSTED", `the trust policy refuses the image: ${reason}`, {
    reference: reference.toString(),
    hint: `bpfcache verify --explain ${reference} also asks the registry, and tells why each signature counts or not.`,
  });
}
