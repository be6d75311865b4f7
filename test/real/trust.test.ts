import { writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import type { TrustOptions } from "../../src/trust/policy.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { imageIndex, type TestRoot } from "../support/image-builder.js";
import {
  bundleDocument,
  type CosignLayer,
  cosignDocument,
  cosignLayer,
  type KeyKind,
  keyBundle,
  layerOf,
  payloadOf,
  policyOf,
  type SigningKey,
  type StatementOptions,
  signingKey,
  statementOf,
} from "../support/signing.js";
import { type KeylessOptions, Sigstore } from "../support/sigstore.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";
import { execute, imageNamed, pushOverHttp, pushWithSkopeo } from "./images.js";
import { Zot } from "./zot.js";

// What cosign signs is accepted, and of every signature that cosign can judge, right or wrong, it and bpfcache say the
// same. cosign is kept from the network: it has no transparency log to ask, and no proxy beyond the loopback.

type Mode = "tag" | "oci-1-1" | "bundle";

const verifyOptions: Readonly<Record<Mode, readonly string[]>> = {
  tag: [],
  "oci-1-1": ["--experimental-oci11"],
  bundle: ["--new-bundle-format", "--trusted-root=trusted_root.json"],
};

const signOptions: Readonly<Record<Mode, readonly string[]>> = {
  tag: [],
  "oci-1-1": ["--registry-referrers-mode=oci-1-1"],
  bundle: ["--new-bundle-format"],
};

class Cosign implements Disposable {
  readonly #home = new TemporaryDirectory();

  async run(...args: readonly string[]): Promise<string> {
    const home = this.#home.path;
    const nowhere = "http://127.0.0.1:9";
    const env = {
      ...{ PATH: process.env["PATH"], HOME: home, COSIGN_PASSWORD: "", COSIGN_EXPERIMENTAL: "1" },
      ...{ HTTP_PROXY: nowhere, HTTPS_PROXY: nowhere },
    };
    const { stdout } = await execute("cosign", args, { cwd: home, env });
    return stdout;
  }

  async sign(reference: string, mode: Mode): Promise<void> {
    await this.run(
      "sign",
      "--yes",
      "--key",
      "cosign.key",
      "--tlog-upload=false",
      ...signOptions[mode],
      reference,
    );
  }

  async accepts(reference: string, { mode, by = key, identity }: Case): Promise<boolean> {
    writeFileSync(this.path("asked.pub"), by.pem);
    writeFileSync(this.path("trusted_root.json"), JSON.stringify(sigstore.trustedRoot()));
    const byKey = ["--key", "asked.pub", "--insecure-ignore-tlog"];
    const byName = [`--certificate-identity=${identity}`, `--certificate-oidc-issuer=${issuer}`];
    try {
      const who = identity === undefined ? byKey : byName;
      await this.run("verify", ...who, ...verifyOptions[mode], reference);
      return true;
    } catch (error) {
      const said = error instanceof Error && "stderr" in error ? String(error.stderr) : String(error);
      if (/no signatures found|no matching signatures|no matching attestations|not found/i.test(said))
        return false;
      if (/failed to verify|invalid|mismatch|did not match|unmarshal|expected|illegal|no valid/i.test(said))
        return false;
      throw new Error(`cosign failed for another reason: ${said}`);
    }
  }

  path(name: string): string {
    return this.#home.join(name);
  }

  [Symbol.dispose](): void {
    this.#home[Symbol.dispose]();
  }
}

const sigstore = new Sigstore();
const otherSigstore = new Sigstore();
const issuer = "https://issuer.example";
const key = signingKey();
const stranger = signingKey();
const keys = Object.fromEntries(
  (["p256", "p384", "p521", "rsa", "ed25519"] as const).map((kind) => [kind, signingKey(kind)]),
) as Readonly<Record<KeyKind, SigningKey>>;

interface Case {
  readonly name: string;
  readonly mode: Mode;
  readonly isRight: boolean;
  readonly by?: SigningKey;
  /** Who must have signed, in the place of a key. */
  readonly identity?: string;
  readonly isIndex?: boolean;
  /** What refers to the root. */
  readonly documents: (root: TestRoot) => readonly TestRoot[];
}

const cosignModes = ["tag", "oci-1-1"] as const;
const elsewhere = imageNamed("elsewhere").root.digest;

/** Cases of cosign's own form, which are the same under its tag and as a referrer. */
function cosignCase(
  name: string,
  isRight: boolean,
  layers: (digest: string, root: TestRoot) => readonly CosignLayer[],
  more: Partial<Case> = {},
): Case[] {
  return cosignModes.map((mode) => ({
    name: `${mode}: ${name}`,
    mode,
    isRight,
    documents: (root) => [
      cosignDocument(layers(root.root.digest, root), mode === "tag" ? undefined : root.root),
    ],
    ...more,
  }));
}

function bundleCase(
  name: string,
  isRight: boolean,
  bundles: (digest: string) => readonly unknown[],
  more: Partial<Case> & { readonly mediaType?: string } = {},
): Case {
  const { mediaType, ...rest } = more;
  return {
    name: `bundle: ${name}`,
    mode: "bundle",
    isRight,
    documents: (root) => [bundleDocument(bundles(root.root.digest), root.root, mediaType)],
    ...rest,
  };
}

function keylessCase(name: string, isRight: boolean, options: KeylessOptions = {}): Case {
  return {
    name: `keyless: ${name}`,
    mode: "bundle",
    isRight,
    identity: "dev@example.com",
    documents: ({ root }) => [bundleDocument([sigstore.bundle(root.digest, options)], root)],
  };
}

const hour = 3_600_000;

const signature = "dev.cosignproject.cosign/signature";

function withSignature(digest: string, text: string | undefined): CosignLayer {
  return { payload: payloadOf(digest), annotations: text === undefined ? {} : { [signature]: text } };
}

function flipped({ payload, annotations }: CosignLayer): CosignLayer {
  const bytes = Buffer.from(annotations[signature] ?? "", "base64");
  bytes[bytes.length - 3] = (bytes[bytes.length - 3] ?? 0) ^ 1;
  return { payload, annotations: { [signature]: bytes.toString("base64") } };
}

function tampered(digest: string, options: StatementOptions): unknown {
  const bundle = keyBundle(digest, key);
  return {
    ...bundle,
    dsseEnvelope: { ...bundle.dsseEnvelope, payload: statementOf(digest, options).toString("base64") },
  };
}

const kinds = Object.keys(keys) as KeyKind[];

const cases: readonly Case[] = [
  ...kinds.flatMap((kind) =>
    cosignCase(`a key of the kind ${kind}`, true, (digest) => [cosignLayer(digest, keys[kind])], {
      by: keys[kind],
    }),
  ),
  ...kinds.flatMap((kind) =>
    cosignCase(
      `another key of the kind ${kind}`,
      false,
      (digest) => [cosignLayer(digest, signingKey(kind))],
      {
        by: keys[kind],
      },
    ),
  ),
  ...cosignCase("another image's signature", false, () => [cosignLayer(elsewhere, key)]),
  ...cosignCase("a payload that was changed after", false, (digest) => [
    { ...cosignLayer(elsewhere, key), payload: payloadOf(digest) },
  ]),
  ...cosignCase("a signature with one bit changed", false, (digest) => [flipped(cosignLayer(digest, key))]),
  ...cosignCase("an empty signature", false, (digest) => [withSignature(digest, "")]),
  ...cosignCase("a signature that is no base64", false, (digest) => [withSignature(digest, "not base64!")]),
  ...cosignCase("a payload that is no JSON", false, () => [layerOf(Buffer.from("signed"), key)]),
  ...cosignCase("a payload without a digest", false, () => [layerOf(payloadOf(""), key)]),
  ...cosignCase("a wrong signature before a right one", true, (digest) => [
    cosignLayer(elsewhere, key),
    cosignLayer(digest, stranger),
    cosignLayer(digest, key),
  ]),
  ...cosignCase("three wrong signatures", false, (digest) => [
    cosignLayer(elsewhere, key),
    cosignLayer(digest, stranger),
    withSignature(digest, "AAAA"),
  ]),
  ...cosignCase("an index", true, (digest) => [cosignLayer(digest, key)], { isIndex: true }),
  ...cosignCase(
    "a signature over the child instead of the index",
    false,
    (_, root) =>
      root.kind === "index" ? root.children.map((child) => cosignLayer(child.root.digest, key)) : [],
    { isIndex: true },
  ),
  { name: "tag: an unsigned image", mode: "tag", isRight: false, documents: () => [] },
  { name: "oci-1-1: an unsigned image", mode: "oci-1-1", isRight: false, documents: () => [] },
  { name: "bundle: an unsigned image", mode: "bundle", isRight: false, documents: () => [] },
  bundleCase("a right one", true, (digest) => [keyBundle(digest, key)]),
  bundleCase("a key of the kind ed25519", true, (digest) => [keyBundle(digest, keys.ed25519)], {
    by: keys.ed25519,
  }),
  bundleCase("a key of the kind rsa", true, (digest) => [keyBundle(digest, keys.rsa)], { by: keys.rsa }),
  bundleCase("another key", false, (digest) => [keyBundle(digest, stranger)]),
  bundleCase("another image's", false, () => [keyBundle(elsewhere, key)]),
  bundleCase("a statement that was changed after", false, (digest) => [
    tampered(digest, { digests: [{ sha256: digest.slice(7) }, { sha256: "0".repeat(64) }] }),
  ]),
  bundleCase("a statement about two images", true, (digest) => [
    keyBundle(digest, key, { digests: [{ sha256: "0".repeat(64) }, { sha256: digest.slice(7) }] }),
  ]),
  bundleCase("a statement about nothing", false, (digest) => [keyBundle(digest, key, { digests: [] })]),
  bundleCase("a statement in an envelope of another type", false, (digest) => [
    keyBundle(digest, key, { payloadType: "text/plain" }),
  ]),
  bundleCase("an index", true, (digest) => [keyBundle(digest, key)], { isIndex: true }),
  keylessCase("the identity asked for", true),
  keylessCase("another identity", false, { identity: "eve@example.com" }),
  keylessCase("another issuer", false, { issuer: "https://issuer.evil" }),
  keylessCase("a certificate without an issuer", false, { issuer: "" }),
  keylessCase("a certificate without an identity", false, { identity: "" }),
  keylessCase("a certificate that had expired", false, { integratedAt: new Date(Date.now() + hour) }),
  keylessCase("a certificate that was not valid yet", false, { integratedAt: new Date(Date.now() - hour) }),
  keylessCase("another authority's certificate", false, { certifiedBy: otherSigstore }),
  keylessCase("another log's entry", false, { loggedBy: otherSigstore }),
  keylessCase("no entry in a log", false, { withoutLog: true }),
  keylessCase("a certificate in no log", false, { withoutSct: true }),
  {
    name: "bundle: a wrong one before a right one",
    mode: "bundle",
    isRight: true,
    documents: ({ root }) => [
      bundleDocument([keyBundle(root.digest, stranger)], root),
      bundleDocument([keyBundle(root.digest, key)], root),
    ],
  },
];

/** Where cosign 2.6 is content with less, on purpose or by mistake. */
const differences: readonly Case[] = [
  bundleCase(
    "an attestation by the right key, which says something else than that the image is right",
    false,
    (digest) => [keyBundle(digest, key, { predicateType: "https://slsa.dev/provenance/v1" })],
  ),
  keylessCase("a log entry about something else", false, { loggedPayload: Buffer.from("else") }),
];

const missing = requireTools("docker-registry", "zot", "skopeo", "cosign");

describe.skipIf(missing)(`signatures made by cosign${missing ?? ""}`, { timeout: 120_000 }, () => {
  const cosign = new Cosign();
  let pem: string;

  beforeAll(async () => {
    await cosign.run("generate-key-pair");
    pem = await cosign.run("public-key", "--key", "cosign.key");
  });
  afterAll(() => cosign[Symbol.dispose]());

  it.each(
    (["tag", "oci-1-1", "bundle"] as const).flatMap((mode) => [
      [mode, "docker-registry", () => DockerRegistry.start()] as const,
      [mode, "zot", () => Zot.start()] as const,
    ]),
  )("%s, in %s: its key is accepted, and another is refused", async (mode, _, start) => {
    await using registry = await start();
    const image = imageIndex([{ image: imageNamed("signed") }]);
    const reference = registry.reference("org/prog:v1");
    await pushWithSkopeo({ [reference]: image });
    await cosign.sign(`${registry.reference("org/prog")}@${image.root.digest}`, mode);
    const right = { privateKey: key.privateKey, pem };
    await using accepting = await openCache({
      platform: "linux/amd64",
      trust: { policy: policyOf(registry.host, [right]) },
    });
    expect(await accepting.pull(reference)).toMatchObject({ trust: { decision: "accept" } });
    await using refusing = await openCache({
      platform: "linux/amd64",
      trust: { policy: policyOf(registry.host, [stranger]) },
    });
    await expect(refusing.pull(reference)).rejects.toMatchObject({ code: "UNTRUSTED" });
  });
});

describe.skipIf(missing)(`cosign and bpfcache agree${missing ?? ""}`, { timeout: 120_000 }, () => {
  const cosign = new Cosign();
  let registry: Zot;

  beforeAll(async () => {
    registry = await Zot.start();
  });
  afterAll(async () => {
    await registry?.[Symbol.asyncDispose]();
    cosign[Symbol.dispose]();
  });

  function trustOf({ by = key, identity }: Case): TrustOptions {
    if (identity === undefined) return { policy: policyOf(registry.host, [by]) };
    const trustedRoot = cosign.path("our_trusted_root.json");
    writeFileSync(trustedRoot, JSON.stringify(sigstore.trustedRoot()));
    const signer = `{ certificate_identity = "${identity}", certificate_oidc_issuer = "${issuer}" }`;
    const policy = `default = "reject"\n[[rule]]\nscope = "${registry.host}"\nidentities = [${signer}]`;
    return { policy, trustedRoot };
  }

  it("on at least 40 cases", () => {
    expect(cases.length).toBeGreaterThanOrEqual(40);
  });

  it.each(cases.map((each, number) => [each.name, each, number] as const))("%s", async (_, each, number) => {
    const { isRight } = each;
    const { bpfcache, cosign: cosignSays, reason } = await judged(each, `org/case${number}`);
    expect({ bpfcache, cosign: cosignSays }, reason).toEqual({ bpfcache: isRight, cosign: isRight });
  });

  it.each(differences.map((each, number) => [each.name, each, number] as const))(
    "but for %s: cosign takes it, and bpfcache does not",
    async (_, each, number) => {
      const said = await judged(each, `org/difference${number}`);
      expect(said).toMatchObject({ bpfcache: false, cosign: true });
    },
  );

  /** What each of them says of an image in this repository. */
  async function judged(each: Case, repository: string) {
    const image = imageNamed(repository.replace("/", "_"));
    const root = each.isIndex === true ? imageIndex([{ image }]) : image;
    const reference = `${registry.reference(repository)}:v1`;
    if (root.kind === "index") await pushWithSkopeo({ [reference]: root });
    else await pushOverHttp(registry.host, repository, "v1", root);
    for (const [at, document] of each.documents(root).entries()) {
      if (document.kind !== "image") throw new Error("a document is no index");
      const tag = each.mode === "tag" ? `${root.root.digest.replace(":", "-")}.sig` : `document-${at}`;
      await pushOverHttp(registry.host, repository, tag, document);
    }
    await using cache = await openCache({ platform: "linux/amd64", trust: trustOf(each) });
    const { decision, reason } = await cache.verify(reference);
    const asked = `${registry.reference(repository)}@${root.root.digest}`;
    return { bpfcache: decision === "accept", cosign: await cosign.accepts(asked, each), reason };
  }
});
