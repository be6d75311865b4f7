import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openReader } from "../../src/reader.js";
import {
  afterThisTest,
  failureOf,
  imageNamed,
  openTestCache,
  startRegistry,
  temporaryDirectory,
} from "../pull/support.js";
import { bundleDocument } from "../support/signing.js";
import { Sigstore } from "../support/sigstore.js";
import { TufMirror } from "../support/tuf-mirror.js";

const image = imageNamed("by_tuf");
const platform = "linux/amd64";

/** A registry with an image that dev@example.com has signed, and a mirror that publishes whom to believe. */
async function startSite() {
  const sigstore = new Sigstore();
  const registry = await startRegistry({ referrers: true });
  registry.add("org/prog:v1", image);
  registry.add("org/prog", bundleDocument([sigstore.bundle(image.root.digest)], image.root));
  const mirror = await TufMirror.start(sigstore.trustedRoot());
  afterThisTest(() => mirror[Symbol.asyncDispose]());
  const directory = temporaryDirectory();
  const firstRoot = join(temporaryDirectory(), "root.json");
  writeFileSync(firstRoot, mirror.firstRoot);
  const signer = `{ certificate_identity = "dev@example.com", certificate_oidc_issuer = "https://issuer.example" }`;
  const policy = [
    'default = "reject"',
    `[[rule]]\nscope = "${registry.host}"\nidentities = [${signer}]`,
    `[tuf]\nmirror = "${mirror.url}"\nroot = "${firstRoot}"`,
  ].join("\n");
  return { directory, mirror, reference: registry.reference("org/prog:v1"), trust: { policy } };
}

it("the trusted root comes from the mirror, once, and is kept for readers and for whoever is offline", async () => {
  const { directory, mirror, reference, trust } = await startSite();
  const cache = await openTestCache({ directory, trust });
  expect(await cache.pull(reference)).toMatchObject({ trust: { decision: "accept" } });
  expect(mirror.requests).toContain("/targets/trusted_root.json");
  const { length } = mirror.requests;
  await cache.verify(reference);
  const offline = await openTestCache({ directory, trust, offline: true });
  expect(await offline.verify(reference)).toMatchObject({ decision: "accept", requests: 0 });
  // By a policy that says something else beside, it is decided anew, by the root that is kept.
  using reader = openReader({ directory, trust: { policy: trust.policy.replace("reject", "warn") } });
  expect(reader.bytecode(reference, { platform }).bytes.byteLength).toBeGreaterThan(0);
  expect(mirror.requests).toHaveLength(length);
});

it("a mirror that cannot be reached is UNREACHABLE while nothing is kept", async () => {
  const { mirror, reference, trust } = await startSite();
  await mirror[Symbol.asyncDispose]();
  expect(await failureOf((await openTestCache({ trust })).pull(reference))).toMatchObject({
    code: "UNREACHABLE",
  });
});

it("offline the mirror is not asked, and without a root nothing with a certificate counts", async () => {
  const { directory, mirror, reference, trust } = await startSite();
  const open = await openTestCache({ directory });
  await open.pull(reference, { referrers: true });
  const offline = await openTestCache({ directory, trust, offline: true });
  const failure = await failureOf(offline.pull(reference));
  expect(failure).toMatchObject({ code: "UNTRUSTED" });
  expect(failure.message).toMatch(/no trusted root is here/);
  expect(mirror.requests).toEqual([]);
});
