import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import type { BytecodeCache } from "../../src/cache.js";
import type { CacheEvent } from "../../src/core/events.js";
import { mediaTypes } from "../../src/image/media-types.js";
import type { ReferrerRecord } from "../../src/store/records.js";
import { checkClosure } from "../reliability/check-closure.js";
import { type ArtifactOptions, artifact } from "../support/artifact-builder.js";
import {
  type Content,
  content,
  descriptorOf,
  imageIndex,
  type TestImage,
  type TestRoot,
} from "../support/image-builder.js";
import type { TestRegistry, TestRegistryOptions } from "../support/test-registry.js";
import {
  afterThisTest,
  asked,
  bytesOf,
  failureOf,
  imageNamed,
  openTestCache,
  startRegistry,
} from "./support.js";

const signed = imageNamed("signed");
const index = imageIndex([{ image: signed }, { image: imageNamed("arm64", { platform: "linux/arm64" }) }]);
const bundleType = "application/vnd.dev.sigstore.bundle.v0.3+json";
const spdxType = "application/spdx+json";
const simpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json";
const name = "org/prog:v1";
const withReferrers = { referrers: true } as const;

function tagOf({ digest }: Content, end = ""): string {
  return `org/prog:${digest.replace(":", "-")}${end}`;
}

function layer(mediaType: string, bytes: Uint8Array | string = "{}") {
  return [{ mediaType, bytes }];
}

function bundleOf(subject: Content, more: ArtifactOptions = {}): TestImage {
  return artifact({ artifactType: bundleType, layers: layer(bundleType, "a bundle"), subject, ...more });
}

function sbomOf(subject: Content): TestImage {
  return artifact({ artifactType: spdxType, layers: layer(spdxType, '{"spdxVersion":"SPDX-2.3"}'), subject });
}

/** D13: as cosign signs by default, in the form of an image and tied to its subject by the tag. */
function legacySignature(n = 1): TestImage {
  return artifact({
    config: { mediaType: mediaTypes.ociConfig, bytes: '{"architecture":"","os":"","rootfs":{}}' },
    layers: Array.from({ length: n }, (_, i) => ({ mediaType: simpleSigning, bytes: `{"critical":${i}}` })),
  });
}

/** An index as BuildKit writes it: the image, and what attests it under a platform that is none. */
function buildKitIndex(
  image: TestImage,
  attestations: readonly { readonly image: TestImage; readonly about: Content }[],
): TestRoot {
  return imageIndex([
    { image },
    ...attestations.map(({ image, about }) => ({
      image,
      platform: "unknown/unknown",
      annotations: {
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": about.digest,
      },
    })),
  ]);
}

const attestation = artifact({
  config: { mediaType: mediaTypes.ociConfig, bytes: '{"architecture":"unknown","os":"unknown"}' },
  layers: layer("application/vnd.in-toto+json"),
});
const attested = buildKitIndex(signed, [{ image: attestation, about: signed.manifest }]);

interface Site {
  readonly registry: TestRegistry;
  readonly cache: BytecodeCache;
  readonly reference: string;
  readonly warnings: string[];
  readonly events: CacheEvent[];
  pull(): Promise<{ readonly requests: number; readonly bytesFetched: number; readonly from: string }>;
  kept(): readonly ReferrerRecord[];
}

/** A registry with the referrers API, unless told otherwise, that holds an image, and a cache that holds nothing yet. */
async function startSite(
  root: TestRoot,
  held: Readonly<Record<string, TestRoot>> | readonly TestRoot[] = [],
  options: TestRegistryOptions & { readonly limits?: object } = {},
): Promise<Site> {
  const registry = await startRegistry({ referrers: true, ...options });
  registry.add(name, root);
  if (Array.isArray(held)) for (const document of held as TestRoot[]) registry.add("org/prog", document);
  else for (const [tag, document] of Object.entries(held)) registry.add(tag, document);
  const events: CacheEvent[] = [];
  const warnings: string[] = [];
  const onEvent = (event: CacheEvent): void => {
    events.push(event);
    if (event.event === "warning") warnings.push(event.message);
  };
  const cache = await openTestCache({ onEvent, limits: options.limits });
  afterThisTest(() => expect(checkClosure(cache.directory)).toEqual([]));
  const reference = registry.reference(name);
  return {
    registry,
    cache,
    reference,
    warnings,
    events,
    pull: () => cache.pull(reference, withReferrers),
    kept: () => cache.inspect(reference).referrers,
  };
}

const forms: readonly (readonly [string, TestImage, string, string?])[] = [
  ["cosign's signature under its tag (D13)", legacySignature(), "cosign signature", ".sig"],
  [
    "cosign's signature as a referrer (D14)",
    artifact({
      config: { mediaType: "application/vnd.dev.cosign.artifact.sig.v1+json", bytes: "{}" },
      layers: layer(simpleSigning),
      subject: signed.manifest,
    }),
    "cosign signature",
  ],
  ["a sigstore bundle (D15)", bundleOf(signed.manifest), "sigstore bundle"],
  [
    "notation's signature (D16)",
    artifact({
      config: { mediaType: "application/vnd.cncf.notary.signature", bytes: "{}" },
      layers: layer("application/jose+json"),
      annotations: { "io.cncf.notary.x509chain.thumbprint#S256": '["ab"]' },
      subject: signed.manifest,
    }),
    "notation signature",
  ],
  [
    "notation's signature with an empty config (D16)",
    artifact({
      artifactType: "application/vnd.cncf.notary.signature",
      layers: layer("application/cose"),
      subject: signed.manifest,
    }),
    "notation signature",
  ],
  [
    "cosign's attestation under its tag",
    artifact({ layers: layer("application/vnd.dsse.envelope.v1+json") }),
    "in-toto attestation",
    ".att",
  ],
  ["cosign's SBOM under its tag", artifact({ layers: layer("text/spdx+json") }), "SPDX SBOM", ".sbom"],
  ["an SBOM", sbomOf(signed.manifest), "SPDX SBOM"],
  [
    "another SBOM",
    artifact({
      artifactType: "application/vnd.cyclonedx+json",
      layers: layer("application/vnd.cyclonedx+json"),
      subject: signed.manifest,
    }),
    "CycloneDX SBOM",
  ],
];

describe("what refers to an image", () => {
  it.each(forms.map(([title, document, kind, end]) => ({ title, document, kind, end })))(
    "is kept with it: $title",
    async ({ document, kind, end }) => {
      const tag = end && tagOf(signed.manifest, end);
      const site = await startSite(signed, tag === undefined ? [document] : { [tag]: document });
      await site.pull();
      const { digest, size, mediaType } = document.manifest;
      expect(site.kept()).toMatchObject([
        {
          subject: signed.manifest.digest,
          digest,
          size,
          mediaType,
          kind,
          ...(tag && { tag: tag.split(":")[1] }),
        },
      ]);
      expect(site.warnings).toEqual([]);
      expect(site.cache.list().map(({ reference }) => reference)).toEqual([site.reference]);
      expect(site.cache.remove(site.reference).bytesFreed).toBeGreaterThan(
        bytesOf(signed) + bytesOf(document),
      );
    },
  );

  it.each([
    ["their types", [bundleType, bundleType]],
    ["types left empty (D15)", [mediaTypes.ociEmpty, mediaTypes.ociEmpty]],
    ["other types than theirs", ["text/plain", spdxType]],
  ])("is found by the fall-back tag, with %s in it, and is of its own type", async (_, types) => {
    const documents = [
      bundleOf(signed.manifest),
      bundleOf(signed.manifest, { annotations: { second: "1" } }),
    ];
    const list = imageIndex([], {
      editIndex: (json) => ({
        ...json,
        manifests: documents.map(({ manifest }, i) => ({
          ...descriptorOf(manifest),
          artifactType: types[i],
        })),
      }),
    });
    const site = await startSite(signed, documents, { referrers: false });
    site.registry.add(tagOf(signed.manifest), list);
    await site.pull();
    expect(site.kept().map(({ artifactType }) => artifactType)).toEqual([bundleType, bundleType]);
  });

  it("is kept of the root and of the platform's manifest, not of other platforms'", async () => {
    const other = index.children[1]?.root ?? index.root;
    const [ofRoot, ofManifest, ofOther] = [bundleOf(index.root), bundleOf(signed.manifest), bundleOf(other)];
    const site = await startSite(index, [ofRoot, ofManifest, ofOther]);
    await site.pull();
    expect(site.kept().map(({ digest }) => digest)).toEqual([ofRoot.root.digest, ofManifest.root.digest]);
  });

  it("is kept of all platforms when all are taken in, each subject asked for once", async () => {
    const other = index.children[1]?.root ?? index.root;
    const site = await startSite(index, [bundleOf(index.root), bundleOf(other)]);
    const { images } = await site.cache.prefetch([site.reference], { allPlatforms: true, ...withReferrers });
    expect(site.registry.requests.filter(({ kind }) => kind === "referrers")).toHaveLength(3);
    expect(images.reduce((sum, { requests }) => sum + requests, 0)).toBe(site.registry.requests.length);
    expect(site.cache.inspect(site.reference, { platform: "linux/arm64" }).referrers).toHaveLength(2);
  });

  it("is kept with what refers to it in turn: the signature of an SBOM", async () => {
    const sbom = sbomOf(signed.manifest);
    const signature = bundleOf(sbom.manifest);
    const site = await startSite(signed, [sbom, signature, bundleOf(signature.manifest)]);
    await site.pull();
    expect(site.kept().map(({ subject, kind }) => [subject, kind])).toEqual([
      [signed.manifest.digest, "SPDX SBOM"],
      [sbom.manifest.digest, "sigstore bundle"],
    ]);
  });

  it("is kept of BuildKit's attestations, which only the image's own index ties to it (D3, F14)", async () => {
    const site = await startSite(attested);
    const { requests } = await site.pull();
    expect(requests).toBe(site.registry.requests.length);
    expect(site.kept()).toMatchObject([
      {
        subject: signed.manifest.digest,
        digest: attestation.manifest.digest,
        kind: "in-toto attestation",
        isInIndex: true,
      },
    ]);
    expect([site.warnings, site.cache.list().length]).toEqual([[], 1]);
    site.registry.forget();
    await site.pull();
    expect(site.registry.requests.filter(({ kind }) => kind === "blob")).toEqual([]);
    site.cache.remove(site.reference);
    expect(site.cache.usage().bytes).toBe(0);
  });

  it("is not BuildKit's attestation of another platform, nor one that names another image itself", async () => {
    const other = imageNamed("other");
    const lying = artifact({ layers: layer("application/vnd.in-toto+json", "1"), subject: other.manifest });
    const foreign = buildKitIndex(signed, [
      { image: attestation, about: other.manifest },
      { image: lying, about: signed.manifest },
    ]);
    const site = await startSite(foreign);
    await site.pull();
    expect(site.kept()).toEqual([]);
    expect(site.warnings).toEqual([expect.stringContaining(`it refers to ${other.manifest.digest}`)]);
  });

  it("is not asked for as an image, with or without the registry", async () => {
    const signature = bundleOf(signed.manifest);
    const site = await startSite(signed, [signature]);
    await site.pull();
    const failure = await failureOf(
      site.cache.pull(site.registry.reference(`org/prog@${signature.root.digest}`)),
    );
    expect([failure.code, failure.message]).toEqual([
      "INVALID_IMAGE",
      `this is a signature, not an image: a sigstore bundle, signing ${signed.manifest.digest}`,
    ]);
    expect(site.cache.list()).toHaveLength(1);
  });
});

describe("the requests it costs", () => {
  it("are none unless asked for", async () => {
    const site = await startSite(signed, [bundleOf(signed.manifest)]);
    await site.cache.pull(site.reference);
    expect(asked(site.registry)).toEqual(["GET manifest 200", "GET blob 200", "GET blob 200"]);
    expect(site.kept()).toEqual([]);
  });

  it("are four for an image nothing refers to, five without the API", async () => {
    const site = await startSite(signed);
    expect((await site.pull()).requests).toBe(3 + 4);
    const old = await startSite(signed, [], { referrers: false });
    expect((await old.pull()).requests).toBe(3 + 5);
    expect(old.registry.requests).toHaveLength(8);
  });

  it("are four for each of root and manifest", async () => {
    const site = await startSite(index);
    expect((await site.pull()).requests).toBe(4 + 4 + 4);
  });

  it("are one more for a bundle's manifest and one for its layer: its config is the empty one", async () => {
    const site = await startSite(signed, [bundleOf(signed.manifest)]);
    const { requests } = await site.pull();
    expect(requests).toBe(3 + 4 + 2);
    expect(site.registry.requests).toHaveLength(9);
  });

  it("are, for what cosign's tag names, one for each of its blobs", async () => {
    const signature = legacySignature(2);
    const site = await startSite(signed, { [tagOf(signed.manifest, ".sig")]: signature });
    const { requests, bytesFetched } = await site.pull();
    expect(requests).toBe(3 + 4 + 3);
    expect(bytesFetched).toBe(bytesOf(signed) + bytesOf(signature));
  });

  it("are only those for the lists when all is here", async () => {
    const site = await startSite(signed, [bundleOf(signed.manifest)]);
    await site.pull();
    site.registry.forget();
    const { from, requests, bytesFetched } = await site.pull();
    expect([from, requests, bytesFetched, asked(site.registry).length]).toEqual(["cache", 4, 0, 4]);
  });

  it.each([
    ["Never", { pullPolicy: "Never" }, {}],
    ["offline", {}, { offline: true }],
  ] as const)("are none under %s", async (_, options, cacheOptions) => {
    const site = await startSite(signed, [bundleOf(signed.manifest)]);
    await site.cache.pull(site.reference);
    await site.cache.close();
    site.registry.forget();
    const later = await openTestCache({ directory: site.cache.directory, ...cacheOptions });
    const { requests } = await later.pull(site.reference, { ...options, ...withReferrers });
    expect([requests, site.registry.connections]).toEqual([0, 0]);
  });
});

describe("a later pull", () => {
  it("fetches what is new", async () => {
    const site = await startSite(signed, [bundleOf(signed.manifest)]);
    await site.cache.pull(site.reference);
    expect(site.kept()).toEqual([]);
    await site.pull();
    expect(site.kept()).toHaveLength(1);
    site.registry.add("org/prog", sbomOf(signed.manifest));
    await site.pull();
    expect(
      site
        .kept()
        .map(({ kind }) => kind)
        .sort(),
    ).toEqual(["SPDX SBOM", "sigstore bundle"]);
  });

  it("gives up nothing that the registry has no more", async () => {
    const signature = bundleOf(signed.manifest);
    const site = await startSite(signed, [signature]);
    await site.pull();
    site.registry.remove(`org/prog@${signature.root.digest}`);
    await site.pull();
    expect(site.kept().map(({ digest }) => digest)).toEqual([signature.root.digest]);
  });

  it("follows cosign's tag when that has moved: the new one has the old one's signatures too", async () => {
    const tag = tagOf(signed.manifest, ".sig");
    const site = await startSite(signed, { [tag]: legacySignature() });
    await site.pull();
    site.registry.add(tag, legacySignature(2));
    await site.pull();
    expect(site.kept().map(({ digest }) => digest)).toEqual([legacySignature(2).root.digest]);
  });
});

describe("what is wrong with it", () => {
  const good = sbomOf(signed.manifest);
  const bad: readonly (readonly [string, TestImage, RegExp, ((site: Site) => void)?])[] = [
    ["a document that does not hash to its name", bundleOf(signed.manifest), /cut short/, breaks("body")],
    ["a document that is gone", bundleOf(signed.manifest), /has no manifest/, breaks("status")],
    ["a layer that is gone", bundleOf(signed.manifest), /has no blob/, breaksLayer],
    [
      "a document of another shape",
      bundleOf(signed.manifest, { editManifest: (json) => ({ ...json, layers: "none" }) }),
      /malformed image manifest/,
    ],
    [
      "an artifact type that is none",
      bundleOf(signed.manifest, { artifactType: "a\0b\u001b[2J" }),
      /its artifact type is no media type/,
    ],
    [
      "an artifact type without end",
      bundleOf(signed.manifest, { artifactType: `application/${"x".repeat(3_000)}` }),
      /its artifact type is no media type/,
    ],
    [
      "a layer that lies elsewhere",
      bundleOf(signed.manifest, {
        editManifest: (json) => ({
          ...json,
          layers: json.layers.map((each) => ({ ...each, urls: ["http://127.0.0.1:1/x"] })),
        }),
      }),
      /foreign layer/,
    ],
  ];

  function breaks(member: "body" | "status") {
    return ({ registry }: Site): void =>
      void registry.break(
        { path: `manifests/${bundleOf(signed.manifest).root.digest}` },
        member === "body" ? { body: "{}" } : { status: 404 },
      );
  }

  function breaksLayer({ registry }: Site): void {
    registry.remove(`org/prog@${bundleOf(signed.manifest).layers[0]?.digest}`);
  }

  it.each(bad.map(([title, document, message, spoil]) => ({ title, document, message, spoil })))(
    "is a warning, and the rest is kept: $title",
    async ({ document, message, spoil }) => {
      const site = await startSite(signed, [document, good]);
      spoil?.(site);
      await site.pull();
      expect(site.kept().map(({ digest }) => digest)).toEqual([good.root.digest]);
      expect(site.warnings).toEqual([expect.stringMatching(message)]);
      expect(site.warnings[0]).toContain(document.root.digest);
    },
  );

  it.each([
    ["another image", bundleOf(imageNamed("other").manifest), /it refers to sha256/],
    ["nothing", artifact({ artifactType: bundleType, layers: layer(bundleType) }), /it refers to nothing/],
    ["what an index of its own is about", imageIndex([]), /it is no manifest|it is an index/],
  ])("is a warning when a list names what refers to %s", async (_, document, message) => {
    const list = imageIndex([], {
      editIndex: (json) => ({ ...json, manifests: [descriptorOf(document.root)] }),
    });
    const site = await startSite(signed, [document], { referrers: false });
    site.registry.add(tagOf(signed.manifest), list);
    await site.pull();
    expect(site.kept()).toEqual([]);
    expect(site.warnings).toEqual([expect.stringMatching(message)]);
  });

  it("is a warning when cosign's tag names a document about another image, or an index, or the image itself", async () => {
    const site = await startSite(signed, {
      [tagOf(signed.manifest, ".sig")]: bundleOf(imageNamed("other").manifest),
      [tagOf(signed.manifest, ".att")]: index,
      [tagOf(signed.manifest, ".sbom")]: signed,
    });
    await site.pull();
    expect(site.kept()).toEqual([]);
    expect(site.warnings).toHaveLength(3);
    site.cache.remove(site.reference);
    expect(site.cache.list()).toEqual([]);
  });

  it("is a warning when a list makes no sense", async () => {
    const site = await startSite(signed);
    site.registry.break({ kind: "referrers" }, { body: '{"manifests":[{"digest":"../../etc/passwd"}]}' });
    await site.pull();
    expect(site.warnings).toEqual([expect.stringMatching(/what refers to .* is not kept: malformed/)]);
  });

  it.each(["referrers", ".sig", ".att", ".sbom", bundleOf(signed.manifest).root.digest])(
    "fails the pull when %s cannot be reached, and the image stays",
    async (path) => {
      const site = await startSite(signed, [bundleOf(signed.manifest), good]);
      site.registry.break({ path }, { status: 503 });
      const failure = await failureOf(site.pull());
      expect([failure.code, failure.reference]).toEqual(["UNREACHABLE", site.reference]);
      expect(site.cache.bytecode(site.reference).bytes.length).toBeGreaterThan(0);
      site.registry.repair();
      await site.pull();
      expect(site.kept()).toHaveLength(2);
    },
  );

  it("ends with the pull when that is interrupted", async () => {
    const site = await startSite(signed, [bundleOf(signed.manifest)]);
    site.registry.break({ kind: "referrers" }, { delayMs: 60_000 });
    const controller = new AbortController();
    const onEvent = ({ event }: CacheEvent): void => void (event === "published" && controller.abort());
    const { signal } = controller;
    const failure = await failureOf(site.cache.pull(site.reference, { ...withReferrers, signal, onEvent }));
    expect(failure.code).toBe("INTERRUPTED");
  });
});

describe("a registry that offers without end", () => {
  it("is left after a hundred documents, with one warning", async () => {
    const many = Array.from({ length: 130 }, (_, i) =>
      bundleOf(signed.manifest, { annotations: { n: `${i}` } }),
    );
    const site = await startSite(signed, many);
    await site.pull();
    expect(site.kept()).toHaveLength(100);
    expect(site.warnings).toEqual([expect.stringMatching(/^not all that refers to .*at most 100 documents/)]);
    site.registry.forget();
    await site.pull();
    expect([site.kept().length, asked(site.registry).length]).toEqual([100, 4]);
  });

  it("is asked for no byte beyond what is kept of an image", async () => {
    const random = (): TestImage =>
      bundleOf(signed.manifest, { layers: layer(bundleType, randomBytes(30_000)) });
    const site = await startSite(signed, Array.from({ length: 10 }, random), {
      limits: { referrerBytes: 100_000 },
    });
    const { bytesFetched } = await site.pull();
    expect(site.kept()).toHaveLength(3);
    expect(bytesFetched).toBeLessThan(bytesOf(signed) + 110_000);
    expect(site.warnings.length).toBeGreaterThan(0);
    await site.pull();
    expect(site.kept()).toHaveLength(3);
  });

  it("is not asked for a document that claims more than a manifest may have", async () => {
    const huge = content("", mediaTypes.ociManifest, {
      digest: bundleOf(signed.manifest).root.digest,
      size: 2 ** 40,
    });
    const list = imageIndex([], {
      editIndex: (json) => ({ ...json, manifests: Array.from({ length: 10_000 }, () => descriptorOf(huge)) }),
    });
    const site = await startSite(signed, { [tagOf(signed.manifest)]: list }, { referrers: false });
    expect((await site.pull()).requests).toBe(3 + 5);
    expect(site.warnings).toHaveLength(1);
  });

  it("does not lead the look-up in circles: each is asked about once", async () => {
    // By cosign's tags, which any registry can point anywhere, an SBOM refers to itself and to the image.
    const sbom = sbomOf(signed.manifest);
    const site = await startSite(signed, [sbom]);
    site.registry.add(tagOf(sbom.manifest, ".sig"), signed);
    site.registry.add(tagOf(sbom.manifest, ".att"), artifact({ layers: layer(spdxType) }));
    await site.pull();
    expect(site.kept()).toHaveLength(2);
    site.cache.remove(site.reference);
    expect(site.cache.list()).toEqual([]);
  });
});
