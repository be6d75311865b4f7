import type { Digest } from "../core/digest.js";
import type { Reference } from "../core/reference.js";
import { bundleSignatures } from "./bundle-signature.js";
import { cosignSignatures } from "./cosign-signature.js";
import type { SignatureDocument } from "./document.js";
import type { CertifiedIdentity, KeylessVerifier } from "./keyless.js";
import type { Action, Conditions, Policy, Rule } from "./policy.js";
import type { Signature, Subject } from "./signature.js";
import { unusable } from "./signature.js";
import type { Signer } from "./signer.js";

/** What a policy says of an image, by which rule, and why. */
export interface Decision {
  readonly decision: Action;
  /** The scope of the rule that decided; null for the policy's default. */
  readonly rule: string | null;
  /** As a sentence without its end. */
  readonly reason: string;
  /** Whose signatures counted, as the policy names them. */
  readonly signers: readonly string[];
  /** The fingerprint of the policy. */
  readonly policy: string;
  /** Every signature that was looked at. */
  readonly signatures: readonly SignatureFinding[];
}

export interface SignatureFinding {
  /** Of the manifest that carries it. */
  readonly digest: Digest;
  readonly kind: string;
  readonly counts: boolean;
  /** Whose it is, as the policy names them; null when it is nobody's that the rule asks for. */
  readonly signer: string | null;
  readonly reason: string;
}

export interface Evidence {
  readonly subject: Subject;
  readonly documents: readonly SignatureDocument[];
  /** Asked for when a certificate is met that may be of somebody whom the rule names; undefined without a trusted root. */
  readonly keyless: () => KeylessVerifier | undefined;
}

/** A manifest may have thousands of layers; nobody signs an image so often. */
const maxSignatures = 1_000;

/** The decision on a root under one reference; `rule` is the one that covers it. */
export function decide(
  policy: Policy,
  rule: Rule | undefined,
  reference: Reference,
  evidence: Evidence,
): Decision {
  const about = { rule: rule?.scope ?? null, policy: policy.fingerprint, signers: [], signatures: [] };
  if (rule?.conditions === undefined) {
    const decision = rule?.action ?? policy.defaultAction;
    const by =
      rule === undefined ? "no rule covers the image, and the policy's default is to" : "its rule says to";
    return { ...about, decision, reason: `${by} ${decision}` };
  }
  const refused = (reason: string): Decision => ({ ...about, decision: rule.action, reason });
  const { conditions } = rule;
  const objection = objectionTo(conditions, reference, evidence.subject.digest);
  if (objection !== undefined) return refused(objection);
  if (conditions.needed === 0)
    return { ...about, decision: "accept", reason: "it is one of those that its rule names" };
  const { findings, signers } = judgeSignatures(conditions, evidence);
  const names = conditions.signers.filter((signer) => signers.has(signer)).map(({ name }) => name);
  const found = { signatures: findings, signers: names };
  if (signers.size >= conditions.needed)
    return { ...about, ...found, decision: "accept", reason: `it is signed by ${names.join(" and ")}` };
  return { ...refused(reasonAgainst(conditions, findings, signers)), ...found };
}

function objectionTo(
  { references, digests }: Conditions,
  reference: Reference,
  root: Digest,
): string | undefined {
  if (references !== undefined && !references.some((allowed) => allows(allowed, reference, root)))
    return "its rule allows other references of the repository, not this one";
  if (digests !== undefined && !digests.has(root)) return `its rule pins other digests than ${root}`;
  return undefined;
}

function allows(allowed: Reference, reference: Reference, root: Digest): boolean {
  return (
    allowed.name === reference.name &&
    (allowed.tag === undefined || allowed.tag === reference.tag) &&
    (allowed.digest === undefined || allowed.digest === root)
  );
}

function judgeSignatures(
  conditions: Conditions,
  evidence: Evidence,
): { readonly findings: SignatureFinding[]; readonly signers: ReadonlySet<Signer> } {
  const findings: SignatureFinding[] = [];
  const signers = new Set<Signer>();
  for (const document of evidence.documents) {
    for (const signature of signaturesOf(document, evidence.subject)) {
      if (findings.length === maxSignatures) return { findings, signers };
      const { digest, kind } = document;
      const { made, doubt } = madeBy(signature, conditions.signers, evidence.keyless);
      const { objection } = signature;
      const counts = made.length > 0 && objection === undefined;
      if (counts) for (const signer of made) signers.add(signer);
      const signer = made.length === 0 ? null : made.map(({ name }) => name).join(", ");
      const reason = counts
        ? "made by a signer of the rule"
        : [signer && `made by ${signer}, but`, objection ?? doubt].filter(Boolean).join(" ");
      findings.push({ digest, kind, counts, signer, reason });
    }
  }
  return { findings, signers };
}

function signaturesOf(document: SignatureDocument, subject: Subject): Signature[] {
  if (document.fault !== undefined) return [unusable(document.fault)];
  if (document.kind === "notation signature")
    return [unusable("notation's signatures are not supported: sign with cosign too")];
  const found = [...cosignSignatures(document, subject), ...bundleSignatures(document, subject)];
  return found.length > 0 ? found : [unusable("there is no signature in it")];
}

/** Those of the signers who made it, and otherwise why it is nobody's. */
function madeBy(
  signature: Signature,
  signers: readonly Signer[],
  keyless: Evidence["keyless"],
): { readonly made: readonly Signer[]; readonly doubt: string } {
  const byKey = signers.filter((signer) => signer.kind === "key" && signature.isBy(signer.key));
  if (!signers.some(({ kind }) => kind === "identity"))
    return { made: byKey, doubt: "none of the rule's keys made it" };
  const named = signers.some(({ kind }) => kind === "key") ? "none of the rule's signers made it" : undefined;
  if (signature.certified === undefined)
    return { made: byKey, doubt: named ?? "it has no certificate that can be read" };
  const verifier = keyless();
  if (verifier === undefined)
    return { made: byKey, doubt: "no trusted root is here to check its certificate with" };
  let found: CertifiedIdentity;
  try {
    found = verifier.identify(signature.certified);
  } catch (error) {
    return { made: byKey, doubt: error instanceof Error ? error.message : String(error) };
  }
  const { identity, issuer } = found;
  const byName = signers.filter(
    (signer) =>
      signer.kind === "identity" && signer.identity.matches(identity) && signer.issuer.matches(issuer),
  );
  const doubt = `it was made by ${identity.slice(0, 300)}, issued by ${issuer.slice(0, 300)}, whom the rule does not name`;
  return { made: [...byKey, ...byName], doubt };
}

/** Unsigned and badly signed are different troubles: one lacks something, in the other something is wrong. */
function reasonAgainst(
  { signers, needed }: Conditions,
  findings: readonly SignatureFinding[],
  found: ReadonlySet<Signer>,
): string {
  const missing = signers.filter((signer) => !found.has(signer)).map(({ name }) => name);
  if (found.size > 0)
    return `${found.size} of the ${needed} signers that its rule asks for have signed it; not ${missing.slice(0, 3).join(" or ")}`;
  if (findings.length === 0) return "it is not signed";
  const [first] = findings;
  const which =
    findings.length === 1
      ? "its signature does not count"
      : `none of its ${findings.length} signatures counts`;
  return `${which}: ${first?.reason}`;
}
