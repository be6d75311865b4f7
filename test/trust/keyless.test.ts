import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { parseReference } from "../../src/core/reference.js";
import { decide } from "../../src/trust/decide.js";
import { signatureDocument } from "../../src/trust/document.js";
import { KeylessVerifier } from "../../src/trust/keyless.js";
import { parsePolicy } from "../../src/trust/policy.js";
import { failureOf, imageNamed, openTestCache, startRegistry, temporaryDirectory } from "../pull/support.js";
import type { TestImage } from "../support/image-builder.js";
import { bundleDocument, cosignDocument } from "../support/signing.js";
import { type KeylessOptions, Sigstore } from "../support/sigstore.js";

const site = new Sigstore();
const other = new Sigstore();
const image = imageNamed("keyless");
const { digest, bytes } = image.root;
const older = "application/vnd.dev.sigstore.bundle+json;version=0.1";

function policyText(identity = "dev@example.com", issuer = "https://issuer.example", kind = ""): string {
  const [name, from] = [`certificate_identity${kind}`, `certificate_oidc_issuer${kind}`];
  const signer = `{ ${name} = ${JSON.stringify(identity)}, ${from} = ${JSON.stringify(issuer)} }`;
  return `default = "reject"\n[[rule]]\nscope = "quay.io"\nidentities = [${signer}]`;
}

function decisionOn(document: TestImage, policy = policyText(), root: object = site.trustedRoot()) {
  const { manifest, config, layers } = document;
  const parsed = parsePolicy(policy, "policy.toml");
  return decide(parsed, parsed.rules[0], parseReference("quay.io/org/prog:v1"), {
    subject: { digest, bytes: () => bytes },
    documents: [
      signatureDocument({
        record: {
          ...{ subject: digest, artifactType: "", mediaType: manifest.mediaType, blobs: [] },
          ...{ digest: manifest.digest, size: manifest.size, kind: "a signature" },
        },
        manifest: manifest.bytes,
        blobs: [config, ...layers].map((blob) => blob.bytes),
      }),
    ],
    keyless: () => new KeylessVerifier(root, "a root"),
  });
}

const forms: readonly (readonly [string, (options?: KeylessOptions) => TestImage])[] = [
  ["a bundle of version 0.3", (options) => bundleDocument([site.bundle(digest, options)], image.root)],
  [
    "a bundle of version 0.2",
    (options) => bundleDocument([site.olderBundle(digest, "0.2", options)], image.root, older),
  ],
  [
    "a bundle of version 0.1",
    (options) => bundleDocument([site.olderBundle(digest, "0.1", options)], image.root, older),
  ],
  ["cosign's own form", (options) => cosignDocument([site.cosignLayer(digest, options)], image.root)],
];

describe.each(forms)("a keyless signature in %s", (_, make) => {
  it("counts, by the identity and the issuer of its certificate", () => {
    expect(decisionOn(make())).toMatchObject({
      decision: "accept",
      signers: ["dev@example.com, issued by https://issuer.example"],
    });
    const identity = "https://ci.example/org/repo/.workflows/build.yaml@refs/tags/v1";
    const expression = policyText(
      "https://ci[.]example/org/repo/.*@refs/tags/.+",
      "https://issuer[.].*",
      "_regexp",
    );
    expect(decisionOn(make({ identity }), expression).decision).toBe("accept");
  });

  it.each<readonly [string, KeylessOptions, RegExp]>([
    ["somebody else's", { identity: "eve@example.com" }, /made by eve@example.com, issued by/],
    [
      "an identity that only begins the same",
      { identity: "dev@example.com.evil" },
      /whom the rule does not name/,
    ],
    ["another issuer's", { issuer: "https://issuer.evil" }, /issued by https:\/\/issuer.evil/],
    ["one whose certificate does not say who issued the identity", { issuer: "" }, /does not say who issued/],
    ["one whose certificate names nobody", { identity: "" }, /names nobody/],
    [
      "made before its certificate was valid",
      { integratedAt: new Date(Date.now() - 3_600_000) },
      /certificate/,
    ],
    ["made after its certificate expired", { integratedAt: new Date(Date.now() + 3_600_000) }, /certificate/],
    ["certified by another authority", { certifiedBy: other }, /certificate/i],
    ["in another log", { loggedBy: other }, /inclusion/],
    ["in no log", { withoutLog: true }, /expected 1 timestamps, got 0|no certificate/],
    ["whose certificate is in no log", { withoutSct: true }, /SCT/],
    ["whose log entry is about something else", { loggedPayload: Buffer.from("else") }, /mismatch/],
  ])("does not count: %s", (__, options, reason) => {
    const decision = decisionOn(make(options));
    expect(decision.decision).toBe("reject");
    expect(decision.reason).toMatch(reason);
  });

  it("is judged by the given root alone: by another site's it does not count", () => {
    expect(decisionOn(make(), policyText(), other.trustedRoot()).decision).toBe("reject");
    expect(decisionOn(make(), policyText(), {}).decision).toBe("reject");
  });

  it("where the root names no log of certificates, none is asked for", () => {
    const root = site.trustedRoot({ withoutCertificateLog: true });
    expect(decisionOn(make({ withoutSct: true }), policyText(), root).decision).toBe("accept");
  });
});

describe("a bundle over the root's own bytes", () => {
  it("counts, and over others does not", () => {
    expect(decisionOn(bundleDocument([site.messageBundle(bytes)], image.root)).decision).toBe("accept");
    const wrong = decisionOn(bundleDocument([site.messageBundle(Buffer.from("other"))], image.root));
    expect(wrong.reason).toMatch(/it is over other bytes/);
  });
});

it("an attestation by the right identity is no signature", () => {
  const provenance = site.bundle(digest, { predicateType: "https://slsa.dev/provenance/v1" });
  expect(decisionOn(bundleDocument([provenance], image.root)).reason).toMatch(
    /it is an attestation of the type/,
  );
});

describe("a trusted root in a file", () => {
  async function startKeylessSite() {
    const registry = await startRegistry({ referrers: true });
    registry.add("org/prog:v1", image);
    registry.add("org/prog", bundleDocument([site.bundle(digest)], image.root));
    const trustedRoot = join(temporaryDirectory(), "trusted_root.json");
    writeFileSync(trustedRoot, JSON.stringify(site.trustedRoot()));
    const policy = policyText().replace("quay.io", registry.host);
    return { registry, reference: registry.reference("org/prog:v1"), trust: { policy, trustedRoot } };
  }

  it("is all that a pull and a read need: nobody else is asked", async () => {
    const { reference, trust } = await startKeylessSite();
    const cache = await openTestCache({ trust });
    expect(await cache.pull(reference)).toMatchObject({ trust: { decision: "accept" } });
    expect(cache.bytecode(reference).bytes.byteLength).toBeGreaterThan(0);
  });

  it("that does not vouch for the signature has it refused", async () => {
    const { reference, trust } = await startKeylessSite();
    writeFileSync(trust.trustedRoot, JSON.stringify(other.trustedRoot()));
    expect(await failureOf((await openTestCache({ trust })).pull(reference))).toMatchObject({
      code: "UNTRUSTED",
    });
  });

  it("that is none, is USAGE", async () => {
    const { reference, trust } = await startKeylessSite();
    for (const content of ["{", '{"tlogs":[{}]}']) {
      writeFileSync(trust.trustedRoot, content);
      const attempt = async (): Promise<unknown> => (await openTestCache({ trust })).pull(reference);
      expect(await failureOf(attempt())).toMatchObject({ code: "USAGE" });
    }
  });
});
