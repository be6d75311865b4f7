import type { Digest } from "../core/digest.js";
import { soundRecordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { isHeld } from "./holders.js";
import { digestKey, verdictKey } from "./keys.js";
import type { VerdictRecord } from "./records.js";
import { encodeRecord } from "./values.js";

/** That an image may be used, as it is printed. */
export interface Verdict {
  readonly decision: "accept" | "warn";
  /** The scope of the rule that decided; null for the policy's default. */
  readonly rule: string | null;
  readonly reason: string;
  /** Whose signatures counted, as the policy names them. */
  readonly signers: readonly string[];
  /** The fingerprint of the policy. */
  readonly policy: string;
  /** ISO 8601. */
  readonly decidedAt: string;
}

/** Of one root: who tries many policies must not fill the cache with what they said. */
const keptVerdicts = 16;

/** Only inside `commit`. A verdict goes with the manifest that it is about, so none can outlive what was decided on. */
export function putVerdict(environment: Environment, record: VerdictRecord): void {
  const { root, policy, rule } = record;
  if (!isHeld(environment, "manifest", root)) return;
  environment.tree("verdicts").put(verdictKey(root, policy, rule), encodeRecord(record));
  const rows = environment
    .tree("verdicts")
    .keys(digestKey(root))
    .map((key) => ({
      key,
      decidedAt: soundRecordAt<VerdictRecord>(environment, "verdicts", key)?.decidedAt ?? 0,
    }))
    .sort((a, b) => b.decidedAt - a.decidedAt);
  for (const { key } of rows.slice(keptVerdicts)) environment.tree("verdicts").remove(key);
}

/** One that is damaged is none: it is decided anew. */
export function verdictOf(
  environment: Environment,
  root: Digest,
  policy: string,
  rule: string,
): VerdictRecord | undefined {
  return soundRecordAt<VerdictRecord>(environment, "verdicts", verdictKey(root, policy, rule));
}

/** The newest first. */
export function verdictsOf(environment: Environment, root: Digest): VerdictRecord[] {
  return environment
    .tree("verdicts")
    .keys(digestKey(root))
    .flatMap((key) => soundRecordAt<VerdictRecord>(environment, "verdicts", key) ?? [])
    .sort((a, b) => b.decidedAt - a.decidedAt);
}

export function toVerdict({ decision, rule, reason, signers, policy, decidedAt }: VerdictRecord): Verdict {
  return {
    decision,
    rule: rule === "" ? null : rule,
    reason,
    signers,
    policy,
    decidedAt: new Date(decidedAt).toISOString(),
  };
}
