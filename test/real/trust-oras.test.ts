import { describe, expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import { failureOf, imageNamed, startRegistry } from "../pull/support.js";
import type { TestRoot } from "../support/image-builder.js";
import {
  bundleDocument,
  cosignDocument,
  cosignLayer,
  cosignTag,
  keyBundle,
  policyOf,
  signingKey,
} from "../support/signing.js";
import { requireTools } from "../support/tools.js";

// A pull through oras goes through the same decision, and finds the same signatures.

const key = signingKey();
const image = imageNamed("through_oras");
const { root } = image;

const missing = requireTools("oras");

describe.skipIf(missing)(`under a policy, through oras${missing ?? ""}`, { timeout: 120_000 }, () => {
  async function pull(documents: Readonly<Record<string, TestRoot>>, break500?: string) {
    const registry = await startRegistry({ referrers: true });
    registry.add("org/prog:v1", image);
    for (const [name, document] of Object.entries(documents)) registry.add(name, document);
    if (break500 !== undefined) registry.break({ path: break500 }, { status: 500 });
    const trust = { policy: policyOf(registry.host, [key]) };
    await using cache = await openCache({ platform: "linux/amd64", via: "oras", trust });
    const pulled = await cache.pull(registry.reference("org/prog:v1"));
    return { ...pulled, referrers: cache.inspect(pulled.reference).referrers };
  }

  it.each([
    ["cosign's tag", { [cosignTag(root)]: cosignDocument([cosignLayer(root.digest, key)]) }],
    ["a referrer with a bundle", { "org/prog": bundleDocument([keyBundle(root.digest, key)], root) }],
  ])("a signature behind %s is found, counts and is kept", async (_, documents) => {
    expect(await pull(documents)).toMatchObject({
      from: "oras",
      trust: { decision: "accept" },
      referrers: [{ subject: root.digest }],
    });
  });

  it("what is not signed, or by somebody else, is refused", async () => {
    expect(await failureOf(pull({}))).toMatchObject({ code: "UNTRUSTED" });
    const others = { [cosignTag(root)]: cosignDocument([cosignLayer(root.digest, signingKey())]) };
    expect((await failureOf(pull(others))).message).toMatch(/none of the rule's keys made it/);
  });

  it.each(["/referrers/", ".sig"])(
    "a registry that fails at %s is UNREACHABLE, not one without signatures",
    async (path) => {
      expect(await failureOf(pull({}, path))).toMatchObject({ code: "UNREACHABLE" });
    },
  );
});
