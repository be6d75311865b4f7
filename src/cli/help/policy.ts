import { paragraph } from "./layout.js";

const example = `  default = "reject"

  [[rule]]
  scope = "quay.io/org"
  keys = ["org.pub"]

  [[rule]]
  scope = "ghcr.io/org/programs"
  [[rule.identities]]
  certificate_identity = "https://github.com/org/programs/.github/workflows/release.yml@refs/heads/main"
  certificate_oidc_issuer = "https://token.actions.githubusercontent.com"

  [[rule]]
  scope = "registry.site:5000"
  action = "accept"
`;

/** What a policy file may say. */
export const policyRules: readonly string[] = [
  "A trust policy says which images may be used. It is a TOML file, named with --policy, BPFCACHE_POLICY or the setting policy; /etc/bpfcache/policy.toml counts when none is named and it is there. Without a policy every image may be used. It is asked when an image is pulled and again when it is read; what it refuses ends with UNTRUSTED.",
  'default is "accept", "warn" or "reject": what becomes of an image that no rule covers. Each [[rule]] has a scope, a registry or what repositories begin with; "*." before it stands for any subdomain.',
  "A rule either has an action and nothing else, or says what images must have: references or digests, lists of those that are meant; keys, public keys (PEM) that must have signed; identities, who a keyless signature's certificate must be for, each with certificate_identity and certificate_oidc_issuer, or certificate_identity_regexp and certificate_oidc_issuer_regexp. require says how many of the keys and identities must have signed: any, all or a number. An image that does not meet its rule is refused, or with action = warn used with a warning.",
  "Keyless signatures are checked against Sigstore's public instance, or against the file that --trusted-root or trusted_root names, or against the mirror in the table [tuf]. Words that a policy does not know are errors. bpfcache verify REF says what the policy makes of an image, and with --explain why.",
];

export function text(): string {
  return `${policyRules.map((rule) => paragraph(rule)).join("\n")}\nFor example:\n\n${example}`;
}
