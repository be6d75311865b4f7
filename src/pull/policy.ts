import { BpfcacheError } from "../core/errors.js";

export const pullPolicies = ["Always", "IfNotPresent", "Never"] as const;

/** When the source is asked, spelled as Kubernetes and bpfman do. */
export type PullPolicy = (typeof pullPolicies)[number];

/** Case does not matter. Throws USAGE. */
export function parsePullPolicy(text: string): PullPolicy {
  const policy = pullPolicies.find((name) => name.toLowerCase() === text.toLowerCase());
  if (policy !== undefined) return policy;
  throw new BpfcacheError("USAGE", `${JSON.stringify(text)} is not a pull policy`, {
    hint: `It is one of ${pullPolicies.join(", ")}.`,
  });
}
