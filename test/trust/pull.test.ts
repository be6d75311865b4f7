import { describe, expect, it } from "vitest";
import type { BytecodeCache } from "../../src/cache.js";
import { blockFor } from "../../src/core/block-for.js";
import type { CacheEvent } from "../../src/core/events.js";
import { mediaTypes } from "../../src/image/media-types.js";
import { openReader } from "../../src/reader.js";
import {
  failureOf,
  imageNamed,
  openTestCache,
  rowsIn,
  startRegistry,
  temporaryDirectory,
} from "../pull/support.js";
import { checkClosure } from "../reliability/check-closure.js";
import { artifact } from "../support/artifact-builder.js";
import { type Content, imageIndex, type TestRoot, writeLayout } from "../support/image-builder.js";
import {
  bundleDocument,
  cosignDocument,
  cosignLayer,
  cosignTag,
  keyBundle,
  policyOf,
  type SigningKey,
  signingKey,
} from "../support/signing.js";
import type { TestRegistry, TestRegistryOptions } from "../support/test-registry.js";

const key = signingKey();
const stranger = signingKey();
const image = imageNamed("trusted");
const index = imageIndex([{ image }, { image: imageNamed("on_arm", { platform: "linux/arm64" }) }]);

interface Site {
  readonly registry: TestRegistry;
  readonly reference: string;
  readonly directory: string;
  open(policy: string | undefined, options?: object): Promise<BytecodeCache>;
  policy(keys: readonly SigningKey[], more?: string): string;
}

/** A registry with an image, under a tag and with what refers to it. */
async function startSite(
  root: TestRoot,
  documents: Readonly<Record<string, TestRoot>> = {},
  options: TestRegistryOptions = {},
): Promise<Site> {
  const registry = await startRegistry({ referrers: true, ...options });
  registry.add("org/prog:v1", root);
  for (const [tag, document] of Object.entries(documents)) registry.add(tag, document);
  const directory = temporaryDirectory();
  return {
    registry,
    directory,
    reference: registry.reference("org/prog:v1"),
    open: (policy, more = {}) =>
      openTestCache({ directory, ...(policy === undefined ? {} : { trust: { policy } }), ...more }),
    policy: (keys, more) => policyOf(registry.host, keys, more),
  };
}

function signedBy(root: TestRoot, ...keys: readonly SigningKey[]): Readonly<Record<string, TestRoot>> {
  const layers = keys.map((each) => cosignLayer(root.root.digest, each));
  return { [cosignTag(root.root)]: cosignDocument(layers) };
}

describe("a pull under a policy that asks for a signature", () => {
  it("takes in what is signed, keeps the signature, and says who signed", async () => {
    const site = await startSite(image, signedBy(image, key));
    const cache = await site.open(site.policy([key]));
    const pulled = await cache.pull(site.reference);
    expect(pulled.trust).toMatchObject({ decision: "accept", rule: site.registry.host });
    expect(pulled.trust?.signers).toHaveLength(1);
    expect(cache.inspect(site.reference)).toMatchObject({
      referrers: [{ kind: "cosign signature" }],
      verdicts: [{ decision: "accept", policy: pulled.trust?.policy }],
    });
    expect(checkClosure(site.directory)).toEqual([]);
  });

  it("tells of a decision with the time that is kept, however long it is listened to", async () => {
    const site = await startSite(image, signedBy(image, key));
    const cache = await site.open(site.policy([key]));
    const told: string[] = [];
    const pulled = await cache.pull(site.reference, {
      onEvent: (event) => {
        if (event.event !== "decided") return;
        told.push(event.decidedAt);
        blockFor(3);
      },
    });
    expect(told).toEqual([pulled.trust?.decidedAt]);
  });

  it("decides once: the second pull sends no request, and the verdict stays as it was", async () => {
    const site = await startSite(image, signedBy(image, key));
    const first = await (await site.open(site.policy([key]))).pull(site.reference);
    const { length } = site.registry.requests;
    const again = await (await site.open(site.policy([key]))).pull(site.reference);
    expect(site.registry.requests).toHaveLength(length);
    expect(again).toMatchObject({ from: "cache", requests: 0, trust: first.trust });
  });

  it.each([
    ["an unsigned image", {}, /it is not signed/],
    ["an image that somebody else signed", signedBy(image, stranger), /none of the rule's keys made it/],
    [
      "an image with another image's signature",
      { [cosignTag(image.root)]: cosignDocument([cosignLayer(index.root.digest, key)]) },
      /it is over sha256:/,
    ],
  ] as const)("refuses %s, and fetches nothing of it", async (_, documents, reason) => {
    const site = await startSite(image, documents);
    const cache = await site.open(site.policy([key]));
    const failure = await failureOf(cache.pull(site.reference));
    expect(failure).toMatchObject({ code: "UNTRUSTED", reference: site.reference });
    expect(failure.message).toMatch(reason);
    const blobs = site.registry.requests.filter(({ path }) => path.includes(image.layers[0]?.digest ?? "?"));
    expect(blobs).toEqual([]);
    await cache.close();
    expect(rowsIn(site.directory)["manifests"]).toBeUndefined();
  });

  it("takes a signature over the index, and refuses one over its child", async () => {
    const ofIndex = await startSite(index, signedBy(index, key));
    await (await ofIndex.open(ofIndex.policy([key]))).pull(ofIndex.reference);
    const ofChild = await startSite(index, signedBy(image, key));
    const failure = await failureOf((await ofChild.open(ofChild.policy([key]))).pull(ofChild.reference));
    expect(failure).toMatchObject({ code: "UNTRUSTED" });
    expect(failure.message).toMatch(/it is not signed/);
  });

  it("asks once what a tag means, and takes in what it has decided on though the tag moves meanwhile", async () => {
    const site = await startSite(image, signedBy(image, key));
    const onEvent = (event: CacheEvent): void => {
      if (event.event === "resolved") site.registry.add("org/prog:v1", imageNamed("moved"));
    };
    const cache = await site.open(site.policy([key]), { onEvent });
    const pulled = await cache.pull(site.reference);
    expect(site.registry.requests.filter(({ path }) => path.endsWith("/manifests/v1"))).toHaveLength(1);
    expect(pulled.rootDigest).toBe(image.root.digest);
  });

  it.each([
    [500, "referrers"],
    [503, ".sig"],
    [429, "referrers"],
    [401, ".sig"],
  ] as const)(
    "a registry that answers %i for %s is never taken for one without signatures",
    async (status, path) => {
      const site = await startSite(image);
      site.registry.break({ path }, { status });
      const failure = await failureOf((await site.open(site.policy([key]))).pull(site.reference));
      expect(failure.code).toBe(status === 401 ? "UNAUTHORIZED" : "UNREACHABLE");
    },
  );

  it("a list of referrers that is damaged is INVALID_IMAGE, not 'unsigned'", async () => {
    const site = await startSite(image);
    site.registry.break({ kind: "referrers" }, { body: "[" });
    const failure = await failureOf((await site.open(site.policy([key]))).pull(site.reference));
    expect(failure.code).toBe("INVALID_IMAGE");
  });

  it("a signature that cannot be fetched whole does not count, and the reason says so", async () => {
    const site = await startSite(image, signedBy(image, key));
    const { layers } = cosignDocument([cosignLayer(image.root.digest, key)]);
    site.registry.break({ path: layers[0]?.digest ?? "?" }, { body: "other bytes" });
    const failure = await failureOf((await site.open(site.policy([key]))).pull(site.reference));
    expect(failure).toMatchObject({ code: "UNTRUSTED" });
    expect(failure.message).toMatch(/it cannot be used/);
  });

  it("'all' asks for each key, a number for so many, in one document or in several", async () => {
    const [second, third] = [signingKey("ed25519"), signingKey("rsa")];
    const both = { ...signedBy(image, key, second) };
    const site = await startSite(image, both);
    const pull = async (keys: readonly SigningKey[], more: string) =>
      (await site.open(site.policy(keys, more))).pull(site.reference);
    await pull([key, second], 'require = "all"');
    await pull([key, second, third], "require = 2");
    const failure = await failureOf(pull([key, second, third], 'require = "all"'));
    expect(failure).toMatchObject({ code: "UNTRUSTED" });
    expect(failure.message).toMatch(/2 of the 3 signers that its rule asks for have signed it; not key 3/);
  });

  it("finds signatures as referrers, in bundles, and behind a fall-back tag with wrong types in it", async () => {
    const { root } = image;
    const forms: readonly (readonly [Readonly<Record<string, TestRoot>>, TestRegistryOptions])[] = [
      [{ "org/prog": cosignDocument([cosignLayer(root.digest, key)], root) }, { referrers: true }],
      [{ "org/prog": bundleDocument([keyBundle(root.digest, key)], root) }, { referrers: true }],
      [fallback(root, bundleDocument([keyBundle(root.digest, key)], root)), { referrers: false }],
    ];
    for (const [documents, options] of forms) {
      const site = await startSite(image, documents, options);
      const pulled = await (await site.open(site.policy([key]))).pull(site.reference);
      expect(pulled.trust?.decision).toBe("accept");
    }
  });

  it("pulls all platforms of a signed index, and looks the signatures up once", async () => {
    const site = await startSite(index, signedBy(index, key));
    const cache = await site.open(site.policy([key]));
    const { images, failed } = await cache.prefetch([site.reference], { allPlatforms: true });
    expect(failed).toEqual([]);
    expect(images.map(({ trust }) => trust?.decision)).toEqual(["accept", "accept"]);
    expect(site.registry.requests.filter(({ path }) => path.endsWith(".sig"))).toHaveLength(1);
  });
});

/** The tag of a registry without the referrers API, in which the artifact type is wrong. */
function fallback(subject: Content, document: TestRoot): Readonly<Record<string, TestRoot>> {
  const list = imageIndex([{ image: document }], {
    editIndex: (json) => ({
      ...json,
      manifests: json.manifests.map((each) => ({
        ...each,
        artifactType: mediaTypes.ociEmpty,
        platform: undefined,
      })),
    }),
  });
  return { [`org/prog:${subject.digest.replace(":", "-")}`]: list };
}

describe("a policy that has changed", () => {
  async function pulledSite(documents = signedBy(image, key)): Promise<Site> {
    const site = await startSite(image, documents);
    await (await site.open(undefined)).pull(site.reference, { referrers: true });
    site.registry.requests.length = 0;
    return site;
  }

  function read({ directory, reference }: Site, policy: string): Uint8Array {
    using reader = openReader({ directory, trust: { policy } });
    return reader.bytecode(reference, { platform: "linux/amd64" }).bytes;
  }

  it("tightened after the pull: a loader's read is refused, without a request; loosened: it is accepted", async () => {
    const site = await pulledSite();
    expect(read(site, site.policy([key])).byteLength).toBeGreaterThan(0);
    expect(() => read(site, site.policy([stranger]))).toThrow(/none of the rule's keys made it/);
    expect(() => read(site, site.policy([key, stranger], 'require = "all"'))).toThrow(/1 of the 2/);
    expect(() => read(site, 'default = "reject"')).toThrow(/default is to reject/);
    expect(read(site, 'default = "accept"').byteLength).toBeGreaterThan(0);
    expect(read(site, 'default = "warn"').byteLength).toBeGreaterThan(0);
    expect(site.registry.requests).toEqual([]);
  });

  it("what is refused is handed out by none of the ways to read, and by the code UNTRUSTED", async () => {
    const site = await pulledSite();
    const policy = site.policy([stranger]);
    const platform = "linux/amd64";
    const cache = await site.open(policy);
    using reader = openReader({ directory: site.directory, trust: { policy } });
    const byDigest = `${site.registry.reference("org/prog")}@${image.root.digest}`;
    for (const reference of [site.reference, byDigest]) {
      for (const each of [
        () => reader.bytecode(reference, { platform }),
        () => reader.withBytecode(reference, () => 1, { platform }),
        () => cache.bytecode(reference),
        () => cache.withBytecode(reference, () => 1),
      ])
        expect(each).toThrow(expect.objectContaining({ code: "UNTRUSTED" }));
    }
  });

  it("Never decides by what is kept, and with nothing to show is refused", async () => {
    const kept = await pulledSite();
    const never = { pullPolicy: "Never" } as const;
    const pulled = await (await kept.open(kept.policy([key]))).pull(kept.reference, never);
    expect(pulled).toMatchObject({ from: "cache", requests: 0, trust: { decision: "accept" } });
    const bare = await startSite(image, signedBy(image, key));
    await (await bare.open(undefined)).pull(bare.reference);
    bare.registry.requests.length = 0;
    const failure = await failureOf((await bare.open(bare.policy([key]))).pull(bare.reference, never));
    expect(failure).toMatchObject({ code: "UNTRUSTED" });
    expect(bare.registry.requests).toEqual([]);
    // Where the registry may be asked, it is asked for the signatures, and not what the tag means.
    await (await bare.open(bare.policy([key]))).pull(bare.reference);
    expect(bare.registry.requests.filter(({ path }) => path.endsWith("/manifests/v1"))).toEqual([]);
    expect(read(bare, bare.policy([key])).byteLength).toBeGreaterThan(0);
  });

  it("a verdict is of its root and policy alone, and goes with the image", async () => {
    const site = await pulledSite();
    const policy = site.policy([key]);
    const cache = await site.open(policy);
    await cache.pull(site.reference);
    expect(cache.inspect(site.reference).verdicts).toHaveLength(1);
    cache.remove(site.reference);
    await cache.close();
    expect(rowsIn(site.directory)).not.toHaveProperty("verdicts");
    expect(rowsIn(site.directory)).not.toHaveProperty("referrers");
  });

  it("a verdict of a looser policy says nothing under a tighter one that has the same scope", async () => {
    const site = await startSite(image, signedBy(image, stranger));
    await (await site.open(site.policy([stranger]))).pull(site.reference);
    expect(() => read(site, site.policy([key]))).toThrow(/none of the rule's keys made it/);
  });

  it("a rule that only warns lets the image in, and says what it would have refused", async () => {
    const site = await startSite(image);
    const warnings: string[] = [];
    const onEvent = (event: CacheEvent): void => {
      if (event.event === "warning") warnings.push(event.message);
    };
    const cache = await site.open(site.policy([key], 'action = "warn"'), { onEvent });
    const pulled = await cache.pull(site.reference);
    expect(pulled.trust).toMatchObject({ decision: "warn", reason: "it is not signed" });
    expect(warnings).toEqual(["the trust policy would refuse the image: it is not signed"]);
  });
});

describe("images from files and through other ways in", () => {
  it("a seeded layout is decided on by the signatures in it", async () => {
    const directory = temporaryDirectory();
    const signature = cosignDocument([cosignLayer(image.root.digest, key)]);
    const name = "registry.example/org/prog";
    writeLayout(directory, [
      { name: `${name}:v1`, root: image },
      { name: `${name}:${cosignTag(image.root).split(":")[1]}`, root: signature },
    ]);
    const accepted = await openTestCache({ trust: { policy: policyOf("registry.example", [key]) } });
    const { images } = await accepted.seed([directory]);
    expect(images).toMatchObject([{ trust: { decision: "accept" } }]);
    const refused = await openTestCache({ trust: { policy: policyOf("registry.example", [stranger]) } });
    expect(await refused.seed([directory]).catch((error) => error)).toMatchObject({
      failed: [{ code: "UNTRUSTED" }],
    });
  });

  it("an exported image is seeded with its signatures, and has the same verdict with no registry there", async () => {
    const site = await startSite(index, signedBy(index, key));
    const policy = site.policy([key]);
    const first = await site.open(policy);
    const pulled = await first.pull(site.reference);
    const output = `${temporaryDirectory()}/site.tar`;
    await first.export([site.reference], { output });
    await site.registry.close();
    const second = await openTestCache({ trust: { policy }, offline: true });
    const { images } = await second.seed([output]);
    const { decidedAt: _, ...verdict } = pulled.trust ?? { decidedAt: "" };
    expect(images).toMatchObject([{ trust: verdict }]);
    expect(second.bytecode(site.reference).bytes.byteLength).toBeGreaterThan(0);
  });

  it("prefetch reports what is refused, and takes in the rest", async () => {
    const site = await startSite(image, signedBy(image, key));
    const other = site.registry.reference("org/other:v1");
    site.registry.add("org/other:v1", imageNamed("unsigned"));
    const { images, failed } = await (await site.open(site.policy([key]))).prefetch([site.reference, other]);
    expect(images.map(({ reference }) => reference)).toEqual([site.reference]);
    expect(failed).toMatchObject([{ reference: other, code: "UNTRUSTED" }]);
  });
});

describe("verify", () => {
  it("says of an image that is not here what a pull would decide, and fetches nothing of it", async () => {
    const site = await startSite(image, signedBy(image, stranger, key));
    const verification = await (await site.open(site.policy([key]))).verify(site.reference);
    expect(verification).toMatchObject({
      decision: "accept",
      isCached: false,
      rootDigest: image.root.digest,
    });
    expect(verification.signatures.map(({ counts }) => counts)).toEqual([false, true]);
    const refused = await (await site.open(site.policy([signingKey()]))).verify(site.reference);
    expect(refused).toMatchObject({ decision: "reject" });
  });

  it("finds signatures that came after the pull, and keeps them", async () => {
    const site = await startSite(image);
    await (await site.open(undefined)).pull(site.reference);
    for (const [tag, document] of Object.entries(signedBy(image, key))) site.registry.add(tag, document);
    const cache = await site.open(site.policy([key]));
    expect(() => cache.bytecode(site.reference)).toThrow(/it is not signed/);
    expect(await cache.verify(site.reference)).toMatchObject({ decision: "accept", isCached: true });
    expect(cache.bytecode(site.reference).bytes.byteLength).toBeGreaterThan(0);
  });

  it("without a policy is USAGE, and offline without the image NOT_CACHED", async () => {
    const site = await startSite(image);
    expect(await failureOf((await site.open(undefined)).verify(site.reference))).toMatchObject({
      code: "USAGE",
    });
    const offline = await site.open(site.policy([key]), { offline: true });
    expect(await failureOf(offline.verify(site.reference))).toMatchObject({ code: "NOT_CACHED" });
    expect(site.registry.requests).toEqual([]);
  });

  it("says of notation's signatures that they are not supported", async () => {
    const notation = artifact({
      artifactType: "application/vnd.cncf.notary.signature",
      layers: [{ mediaType: "application/jose+json", bytes: "{}" }],
      subject: image.root,
    });
    const site = await startSite(image, { "org/prog": notation });
    const { signatures, reason } = await (await site.open(site.policy([key]))).verify(site.reference);
    expect(signatures).toMatchObject([{ kind: "notation signature", counts: false }]);
    expect(reason).toMatch(/notation's signatures are not supported/);
  });
});
