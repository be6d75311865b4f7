import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BpfcacheError } from "../../src/core/errors.js";
import { parseReference } from "../../src/core/reference.js";
import { loadPolicy, parsePolicy } from "../../src/trust/policy.js";
import { mostSpecific } from "../../src/trust/trust.js";
import { temporaryDirectory } from "../pull/support.js";
import { signingKey } from "../support/signing.js";

const { pem } = signingKey();
const quoted = JSON.stringify(pem);
const keyless = `{ certificate_identity = "a@b.example", certificate_oidc_issuer = "https://issuer.example" }`;

function parse(text: string, directory = "/nowhere") {
  return parsePolicy(text, "policy.toml", undefined, directory);
}

function fault(text: string, directory?: string): string {
  try {
    parse(text, directory);
  } catch (error) {
    if (error instanceof BpfcacheError && error.code === "USAGE") return error.message;
    throw error;
  }
  throw new Error("it was accepted");
}

const rule = (...lines: readonly string[]): string =>
  ['default = "reject"', "", "[[rule]]", 'scope = "quay.io/org"', ...lines].join("\n");

describe("a policy that is wrong is refused, with the line and the reason", () => {
  it.each(
    [
      ["", "policy.toml: default: must be"],
      ['default = "maybe"', 'policy.toml, line 1: default: must be "accept", "warn" or "reject"'],
      ['default = "reject"\ndefualt = "accept"', "policy.toml, line 2: defualt: is not known here"],
      ['default = "reject"\n[[rule]', "policy.toml, line 2, column"],
      [
        'default = "reject"\n[[rule]]\nscope = "quay.io/org"',
        "line 3: rule[0].scope: says neither an action",
      ],
      [
        'default = "reject"\n[[rule]]\nscope = "org/prog:v1"\naction = "accept"',
        "line 3: rule[0].scope: must be a registry",
      ],
      ['default = "reject"\n[[rule]]\nscope = "*."\naction = "accept"', "rule[0].scope: must be a registry"],
      ['default = "reject"\n[[rule]]\nscope = ""\naction = "accept"', "rule[0].scope: must be a registry"],
      ['default = "reject"\n[[rule]]\naction = "accept"', "line 2: rule[0].scope: is missing"],
      [rule('action = "accept"', `keys = [${quoted}]`), "line 5: rule[0].action: decides already"],
      [rule('keys = ["absent.pub"]'), "line 5: rule[0].keys[0]: the key /nowhere/absent.pub cannot be read"],
      [rule('keys = "cosign.pub"'), "line 5: rule[0].keys: must be a list of strings"],
      [rule("keys = []"), "line 5: rule[0].keys: must not be empty"],
      [rule(`keys = [${quoted}, ${quoted}]`), "rule[0]: names a signer twice"],
      [rule(`keys = [${JSON.stringify(pem + pem)}]`), "rule[0].keys[0]: it has more than one key"],
      [
        rule('keys = ["-----BEGIN PUBLIC KEY-----\\nAAAA\\n-----END PUBLIC KEY-----"]'),
        "rule[0].keys[0]: it is not a public key",
      ],
      [rule(`keys = [${quoted}]`, "require = 2"), "line 6: rule[0].require: asks for 2 signers of 1"],
      [
        rule('require = "all"', 'action = "reject"'),
        "line 5: rule[0].require: says how many must sign, but not who",
      ],
      [rule(`keys = [${quoted}]`, "require = 0"), "line 6: rule[0].require: must be"],
      [rule('digests = ["sha256:ab"]'), "line 5: rule[0].digests[0]: is not a sha256 or sha512 digest"],
      [rule('references = ["quay.io/org/UPPER"]'), "line 5: rule[0].references[0]: "],
      [
        rule('identities = [{ certificate_identity = "a" }]'),
        "rule[0].identities[0]: needs certificate_oidc_issuer",
      ],
      [
        rule('identities = [{ certificate_oidc_issuer = "a" }]'),
        "rule[0].identities[0]: needs certificate_identity",
      ],
      [
        rule(
          'identities = [{ certificate_identity = "a", certificate_identity_regexp = "a", certificate_oidc_issuer = "b" }]',
        ),
        "rule[0].identities[0]: needs certificate_identity or",
      ],
      [
        rule('identities = [{ certificate_identity_regexp = "(", certificate_oidc_issuer = "b" }]'),
        "rule[0].identities[0].certificate_identity_regexp: is not a regular expression",
      ],
      [
        rule('action = "accept"', "", "[[rule]]", 'scope = "quay.io/org"', 'action = "reject"'),
        "line 8: rule[1].scope: is the scope of another rule too",
      ],
      [rule('action = "accept"', "", "[rule.tuf]", "x = 1"), "line 7: rule[0].tuf: is not known here"],
    ].map(([text = "", expected = ""]) => [expected, text] as const),
  )("%s", (expected, text) => {
    expect(fault(text)).toContain(expected);
  });

  it("a private key, a certificate, a weak key, or one of another kind is no key", () => {
    const directory = temporaryDirectory();
    const write = (name: string, content: string): void => writeFileSync(join(directory, name), content);
    const { privateKey } = signingKey();
    write("private.pem", privateKey.export({ type: "pkcs8", format: "pem" }).toString());
    write("certificate.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    expect(fault(rule('keys = ["private.pem"]'), directory)).toMatch(/it is a private key/);
    expect(fault(rule('keys = ["certificate.pem"]'), directory)).toMatch(/it is a certificate/);
    const weak = generateKeyPairSync("rsa", { modulusLength: 1024 }).publicKey;
    const other = generateKeyPairSync("ec", { namedCurve: "secp256k1" }).publicKey;
    for (const [name, key] of Object.entries({ weak, other }))
      write(`${name}.pub`, key.export({ type: "spki", format: "pem" }).toString());
    expect(fault(rule('keys = ["weak.pub"]'), directory)).toMatch(/at least 2048 bits/);
    expect(fault(rule('keys = ["other.pub"]'), directory)).toMatch(/it is none of ECDSA on P-256/);
  });
});

describe("a policy", () => {
  it("takes keys from files beside it, and PEM written into it", () => {
    const directory = temporaryDirectory();
    mkdirSync(join(directory, "keys"));
    writeFileSync(join(directory, "keys", "cosign.pub"), pem);
    writeFileSync(join(directory, "policy.toml"), rule('keys = ["keys/cosign.pub"]'));
    const byFile = loadPolicy({ policyFile: join(directory, "policy.toml") });
    expect(byFile?.fingerprint).toBe(parse(rule(`keys = ["""\n${pem}"""]`)).fingerprint);
  });

  it("has another fingerprint when anything in it can decide otherwise, and the same when nothing can", () => {
    const base = rule(`keys = [${quoted}]`);
    const changed = [
      base.replace("reject", "warn"),
      base.replace("quay.io/org", "quay.io/other"),
      rule(`keys = [${JSON.stringify(signingKey().pem)}]`),
      rule(`keys = [${quoted}, ${JSON.stringify(signingKey().pem)}]`, 'require = "all"'),
      rule(`keys = [${quoted}]`, 'references = ["quay.io/org/prog:v1"]'),
      rule(`keys = [${quoted}]`, `digests = ["sha256:${"0".repeat(64)}"]`),
      rule(`keys = [${quoted}]`, `identities = [${keyless}]`),
      rule(`keys = [${quoted}]`, 'action = "warn"'),
    ].map((text) => parse(text).fingerprint);
    expect(new Set([...changed, parse(base).fingerprint]).size).toBe(changed.length + 1);
    expect(parse(`# said otherwise\n${base}\nrequire = "any" # the default\n`).fingerprint).toBe(
      parse(base).fingerprint,
    );
  });

  it("an expression matches the whole of a name, whether or not it says so", () => {
    const expression = `{ certificate_identity_regexp = "a|b@x", certificate_oidc_issuer_regexp = "https://i[.]example" }`;
    const { rules } = parse(rule(`identities = [${expression}]`));
    const [signer] = rules[0]?.conditions?.signers ?? [];
    if (signer?.kind !== "identity") throw new Error("there is no identity");
    expect(["a", "b@x"].every(signer.identity.matches)).toBe(true);
    expect(["aa", "a@x", "xb@x", "b@x\n", "\na", ""].some(signer.identity.matches)).toBe(false);
    expect(signer.issuer.matches("https://i.example.evil")).toBe(false);
  });

  it("the most specific rule wins, wherever it stands", () => {
    const scopes = [
      "quay.io",
      "quay.io/org",
      "quay.io/org/prog",
      "*.example",
      "a.example",
      "*.example/org",
      "*.a.example",
    ];
    const orders = [scopes, [...scopes].reverse()];
    const expected = {
      "quay.io/other/prog": "quay.io",
      "quay.io/org/other": "quay.io/org",
      "quay.io/organisation/prog": "quay.io",
      "quay.io/org/prog": "quay.io/org/prog",
      "quay.io/org/prog/more": "quay.io/org/prog",
      "quay.io:5000/org/prog": undefined,
      "b.example/x": "*.example",
      "a.example/x": "a.example",
      "a.example/org/x": "*.example/org",
      "b.a.example/x": "*.a.example",
      "docker.io/library/prog": undefined,
    };
    for (const order of orders) {
      const text = order.map((scope) => `[[rule]]\nscope = "${scope}"\naction = "warn"`).join("\n");
      const { rules } = parse(`default = "reject"\n${text}`);
      const chosen = Object.keys(expected).map((name) => [
        name,
        mostSpecific(rules, parseReference(name).name)?.scope,
      ]);
      expect(Object.fromEntries(chosen)).toEqual(expected);
    }
  });
});
