import { expect, test } from "vitest";
import { BpfcacheError } from "../../src/core/errors.js";
import { parseReference } from "../../src/core/reference.js";
import { type Decision, decide } from "../../src/trust/decide.js";
import type { SignatureDocument } from "../../src/trust/document.js";
import { KeylessVerifier } from "../../src/trust/keyless.js";
import { type Policy, parsePolicy } from "../../src/trust/policy.js";
import { mutate, type Random } from "../fuzz/mutate.js";
import { mutateJson, vocabularyOf } from "../fuzz/mutate-json.js";
import { randomNumbers } from "../image/elf/mutants.js";
import { imageNamed } from "../pull/support.js";
import {
  bundleType,
  type CosignLayer,
  cosignLayer,
  keyBundle,
  signingKey,
  simpleSigning,
} from "../support/signing.js";
import { Sigstore } from "../support/sigstore.js";

/**
 * Mutants of what somebody may put beside an image, none of which signs it: over another image, by another key, by another
 * person, by another authority; and right signatures of which what is signed was changed. Each is made from its number
 * alone, but for the keys, which are new in each run:
 *
 *     BPFCACHE_TRUST_MUTANTS=100000 npx vitest run test/trust/mutants.test.ts
 */
const count = Number(process.env["BPFCACHE_TRUST_MUTANTS"] ?? 2_000);

const { digest, bytes } = imageNamed("mutant").root;
const elsewhere = imageNamed("elsewhere").root.digest;
const [key, stranger] = [signingKey(), signingKey()];
const [site, otherSite] = [new Sigstore(), new Sigstore()];
const eve = { identity: "eve@example.com" } as const;
const keyless = new KeylessVerifier(site.trustedRoot(), "a root");
const policyText = `default = "reject"

[[rule]]
scope = "quay.io/org"
keys = ["""
${key.pem}"""]
identities = [{ certificate_identity = "dev@example.com", certificate_oidc_issuer = "https://issuer.example" }]

[[rule]]
scope = "quay.io/org/closed"
action = "reject"
`;
const policy = parsePolicy(policyText, "policy.toml");
const reference = parseReference("quay.io/org/prog:v1");

/** What no mutation may turn into a signature by `key` or by dev@example.com over the image. */
const wrongLayers: readonly CosignLayer[] = [
  cosignLayer(elsewhere, key),
  cosignLayer(digest, stranger),
  site.cosignLayer(elsewhere),
  site.cosignLayer(digest, eve),
  site.cosignLayer(digest, { certifiedBy: otherSite }),
  site.cosignLayer(digest, { loggedBy: otherSite }),
];
const wrongBundles: readonly object[] = [
  keyBundle(elsewhere, key),
  keyBundle(digest, stranger),
  keyBundle(digest, key, { predicateType: "https://slsa.dev/provenance/v1" }),
  site.bundle(elsewhere),
  site.bundle(digest, eve),
  site.bundle(digest, { certifiedBy: otherSite }),
  site.bundle(digest, { loggedBy: otherSite }),
  site.bundle(digest, { integratedAt: new Date(Date.now() + 3_600_000) }),
  site.olderBundle(digest, "0.1", eve),
  site.olderBundle(digest, "0.2", { certifiedBy: otherSite }),
  site.messageBundle(bytes, eve),
  site.messageBundle(Buffer.from("else")),
];
const wrongCertificates = [
  site.bundle(digest, eve),
  site.bundle(digest, { certifiedBy: otherSite }),
] as const;
const inAnotherLog = site.bundle(digest, { loggedBy: otherSite });
const strangersLayer = cosignLayer(digest, stranger);
const rightLayers: readonly CosignLayer[] = [cosignLayer(digest, key), site.cosignLayer(digest)];
const rightBundles = [keyBundle(digest, key), site.bundle(digest)] as const;

const vocabulary = vocabularyOf([
  ...["{", "}", "[", "]", ",", ":", "null", "true", "0", "-1", "1e99", '""', '"AAAA"', '"="', `"${digest}"`],
  ...['"mediaType"', '"verificationMaterial"', '"certificate"', '"rawBytes"', '"tlogEntries"', '"publicKey"'],
  ...['"x509CertificateChain"', '"dsseEnvelope"', '"messageSignature"', '"signatures"', '"sig"', '"payload"'],
  ...[
    '"inclusionProof"',
    '"checkpoint"',
    '"timestampVerificationData"',
    '"hint"',
    '"kindVersion"',
    '"logId"',
  ],
  `${"[".repeat(2_000)}${"]".repeat(2_000)}`,
]);

interface Target {
  readonly name: string;
  /** Whether the mutant was accepted; null when it is what it was before. */
  readonly isAccepted: (random: Random) => boolean | null;
}

function pick<T>(all: readonly T[], random: Random): T {
  const one = all[random(all.length)];
  if (one === undefined) throw new Error("there is nothing to choose from");
  return one;
}

function decisionOn(document: Partial<SignatureDocument>, by: Policy = policy): Decision {
  return decide(by, by.rules[0], reference, {
    subject: { digest, bytes: () => bytes },
    documents: [{ digest, kind: "signature", layers: [], ...document }],
    keyless: () => keyless,
  });
}

function isAcceptedLayer({ payload, annotations }: CosignLayer): boolean {
  const layers = [{ mediaType: simpleSigning, annotations, bytes: payload }];
  return decisionOn({ layers }).decision !== "reject";
}

function isAcceptedBundle(text: Uint8Array | string): boolean {
  const layers = [{ mediaType: bundleType, annotations: {}, bytes: Buffer.from(text) }];
  return decisionOn({ layers }).decision !== "reject";
}

function isJson(text: string): boolean {
  return text.startsWith("{");
}

const targets: readonly Target[] = [
  {
    name: "annotations",
    isAccepted: (random) => {
      const { payload, annotations } = pick(wrongLayers, random);
      const name = pick(Object.keys(annotations), random);
      const text = annotations[name] ?? "";
      const changed = isJson(text)
        ? mutateJson(Buffer.from(text), random, vocabulary)
        : mutate(Buffer.from(text), random, []);
      return isAcceptedLayer({ payload, annotations: { ...annotations, [name]: changed.toString("utf8") } });
    },
  },
  {
    name: "payload",
    isAccepted: (random) => {
      const { payload, annotations } = pick(random(2) === 0 ? wrongLayers : rightLayers, random);
      const changed = mutate(Buffer.from(payload), random, []);
      return changed.equals(payload) ? null : isAcceptedLayer({ payload: changed, annotations });
    },
  },
  {
    name: "bundle",
    isAccepted: (random) =>
      isAcceptedBundle(
        mutateJson(Buffer.from(JSON.stringify(pick(wrongBundles, random))), random, vocabulary),
      ),
  },
  {
    name: "statement",
    isAccepted: (random) => {
      const bundle = pick(rightBundles, random);
      const payload = Buffer.from(bundle.dsseEnvelope.payload, "base64");
      const changed = random(2) === 0 ? mutate(payload, random, []) : mutateJson(payload, random, vocabulary);
      if (changed.equals(payload)) return null;
      const dsseEnvelope = { ...bundle.dsseEnvelope, payload: changed.toString("base64") };
      return isAcceptedBundle(JSON.stringify({ ...bundle, dsseEnvelope }));
    },
  },
  {
    name: "certificate",
    isAccepted: (random) => {
      const bundle = pick(wrongCertificates, random);
      const raw = Buffer.from(bundle.verificationMaterial.certificate.rawBytes, "base64");
      const certificate = { rawBytes: mutate(raw, random, [raw]).toString("base64") };
      const verificationMaterial = { ...bundle.verificationMaterial, certificate };
      return isAcceptedBundle(JSON.stringify({ ...bundle, verificationMaterial }));
    },
  },
  {
    name: "log entry",
    isAccepted: (random) => {
      const [entry] = inAnotherLog.verificationMaterial.tlogEntries;
      const changed = mutateJson(Buffer.from(JSON.stringify(entry)), random, vocabulary).toString("utf8");
      return isAcceptedBundle(JSON.stringify(inAnotherLog).replace(JSON.stringify(entry), () => changed));
    },
  },
  { name: "policy", isAccepted: (random) => isAcceptedByMutant(mutate(Buffer.from(policyText), random, [])) },
];

/** By a policy that still asks for signers, which the image does not have. */
function isAcceptedByMutant(text: Buffer): boolean {
  let mutant: Policy;
  try {
    mutant = parsePolicy(text.toString("utf8"), "policy.toml", undefined, "/nowhere");
  } catch (error) {
    if (error instanceof BpfcacheError && error.code === "USAGE") return false;
    throw error;
  }
  const { payload, annotations } = strangersLayer;
  const layers = [{ mediaType: simpleSigning, annotations, bytes: payload }];
  const { decision, signers } = decisionOn({ layers }, mutant);
  const asks = (mutant.rules[0]?.conditions?.needed ?? 0) > 0 && mutant.rules[0]?.action === "reject";
  return signers.length > 0 || (asks && decision !== "reject");
}

test(
  `of ${count} mutants of signatures, certificates and policies none is accepted, and none breaks anything`,
  async () => {
    expect(rightLayers.map(isAcceptedLayer)).toEqual([true, true]);
    expect(rightBundles.map((each) => isAcceptedBundle(JSON.stringify(each)))).toEqual([true, true]);
    expect(wrongLayers.some(isAcceptedLayer)).toBe(false);
    expect(wrongBundles.some((each) => isAcceptedBundle(JSON.stringify(each)))).toBe(false);
    const findings: string[] = [];
    const tried = new Map<string, number>();
    let slowestMs = 0;
    for (let mutant = 1; mutant <= count; mutant++) {
      const random = randomNumbers(mutant);
      const target = pick(targets, random);
      const started = performance.now();
      try {
        const isAccepted = target.isAccepted(random);
        if (isAccepted === true) findings.push(`${mutant}, ${target.name}: it was accepted`);
        if (isAccepted !== null) tried.set(target.name, (tried.get(target.name) ?? 0) + 1);
      } catch (error) {
        findings.push(`${mutant}, ${target.name}: ${error instanceof Error ? error.stack : error}`);
      }
      slowestMs = Math.max(slowestMs, performance.now() - started);
      // Lets vitest hear from this process while it works.
      if (mutant % 500 === 0) await new Promise(setImmediate);
    }
    if (count > 2_000) console.info({ tried: Object.fromEntries(tried), slowestMs });
    expect(findings).toEqual([]);
    expect(tried.size).toBe(targets.length);
  },
  60_000 + count * 20,
);
