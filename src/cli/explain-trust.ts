import type { Judgement } from "../trust/trust.js";

/** Which trust policy was asked, and what it said: the key `trust` of an explanation. */
export interface TrustExplanation extends Judgement {
  readonly policyFile: string | null;
}

export function explainTrust(
  { decision, rule, reason, signers, policy, decidedAt }: Judgement,
  policyFile: string | undefined,
): TrustExplanation {
  return { policyFile: policyFile ?? null, policy, rule, decision, reason, signers, decidedAt };
}

const said = { accept: "accepts it", warn: "only warns of it", reject: "refuses it" } as const;

/** `policyFile` is of the policy in force, whether it was asked or not. */
export function trustSentence(trust: TrustExplanation | null, policyFile: string | undefined): string {
  if (trust === null)
    return policyFile === undefined
      ? "No trust policy is in force: nobody was asked whether it may be used."
      : `The trust policy ${policyFile} was not asked: nothing came that it could decide on.`;
  const { decision, rule, reason, policy, decidedAt } = trust;
  const name = trust.policyFile ?? "in force";
  const by = rule === null ? "by its default" : `by its rule for ${rule}`;
  return `The trust policy ${name} (${policy.slice(0, 12)}) ${said[decision]} ${by}: ${reason}. That was decided at ${decidedAt}.`;
}
