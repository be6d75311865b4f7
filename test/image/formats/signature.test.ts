import { describe, expect, it } from "vitest";
import { mediaTypes } from "../../../src/image/media-types.js";
import { asked, failureOf, openTestCache, startRegistry } from "../../pull/support.js";
import { type ArtifactLayer, type ArtifactOptions, artifact } from "../../support/artifact-builder.js";
import { bytecodeImage, descriptorOf, imageIndex, type TestRoot } from "../../support/image-builder.js";
import { extract } from "./support.js";

const signed = bytecodeImage();
const digest = signed.manifest.digest;
const imageConfig = { mediaType: mediaTypes.ociConfig, bytes: '{"architecture":"","os":"","rootfs":{}}' };
const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";

const payload = JSON.stringify({
  critical: {
    identity: { "docker-reference": "r" },
    image: { "docker-manifest-digest": digest },
    type: "cosign container image signature",
  },
  optional: null,
});

const inToto = JSON.stringify({
  _type: "https://in-toto.io/Statement/v0.1",
  subject: [{ name: "r", digest: { sha256: digest.slice("sha256:".length) } }],
});

const envelope = JSON.stringify({
  payloadType: "application/vnd.in-toto+json",
  payload: Buffer.from(inToto).toString("base64"),
  signatures: [],
});

function layer(mediaType: string, bytes = "{}"): readonly ArtifactLayer[] {
  return [{ mediaType, bytes }];
}

const subject = signed.manifest;

const statements: readonly (readonly [string, ArtifactOptions, string])[] = [
  [
    "cosign's, in the form of an image (D13)",
    { config: imageConfig, layers: layer("application/vnd.dev.cosign.simplesigning.v1+json", payload) },
    "this is a signature, not an image: cosign's, signing",
  ],
  [
    "cosign's, as a referrer (D14)",
    {
      config: { mediaType: "application/vnd.dev.cosign.artifact.sig.v1+json", bytes: "{}" },
      layers: layer("application/vnd.dev.cosign.simplesigning.v1+json", payload),
      subject,
    },
    "this is a signature, not an image: cosign's, signing",
  ],
  [
    "a sigstore bundle (D15)",
    { artifactType: bundle, layers: layer(bundle), subject },
    "this is a signature, not an image: a sigstore bundle, signing",
  ],
  [
    "notation's (D16)",
    {
      config: { mediaType: "application/vnd.cncf.notary.signature", bytes: "{}" },
      layers: layer("application/jose+json"),
      subject,
    },
    "this is a signature, not an image: notation's, signing",
  ],
  [
    "notation's with an empty config (D16)",
    {
      artifactType: "application/vnd.cncf.notary.signature",
      layers: layer("application/cose"),
      subject,
    },
    "this is a signature, not an image: notation's, signing",
  ],
  [
    "an attestation of BuildKit (F14)",
    { config: imageConfig, layers: layer("application/vnd.in-toto+json", inToto) },
    "this is an attestation, not an image: in-toto, about",
  ],
  [
    "an attestation of cosign",
    { config: imageConfig, layers: layer("application/vnd.dsse.envelope.v1+json", envelope) },
    "this is an attestation, not an image: in-toto in a DSSE envelope, about",
  ],
  [
    "an SBOM",
    { artifactType: "application/spdx+json", layers: layer("application/spdx+json"), subject },
    "this is an SBOM, not an image: SPDX, about",
  ],
];

async function pull(root: TestRoot, tag = `sha256-${digest.slice("sha256:".length)}.sig`) {
  const registry = await startRegistry();
  registry.add(`org/prog:${tag}`, root);
  const cache = await openTestCache();
  const failure = await failureOf(cache.pull(registry.reference(`org/prog:${tag}`)));
  return { failure, listed: cache.list(), requests: asked(registry) };
}

describe("a signature or attestation", () => {
  it.each(statements)(
    "is refused and never listed, with what it is about: %s",
    async (_, options, message) => {
      const { failure, listed } = await pull(artifact(options));
      expect([failure.code, failure.message, listed]).toEqual(["INVALID_IMAGE", `${message} ${digest}`, []]);
    },
  );

  it("that names its subject in the manifest costs one request", async () => {
    const { requests } = await pull(artifact({ artifactType: bundle, layers: layer(bundle), subject }));
    expect(requests).toEqual(["GET manifest 200"]);
  });

  it.each([
    ["is no JSON", "{"],
    ["is of another shape", "[]"],
    ["names what is no digest", JSON.stringify({ subject: [{ digest: { sha256: "../x" } }] })],
  ])("whose payload %s is refused all the same", async (_, bytes) => {
    const image = artifact({ layers: layer("application/vnd.in-toto+json", bytes) });
    await expect(extract(image)).rejects.toThrow(
      /an attestation, not an image: .* an image it does not name/,
    );
  });

  it("does not make an image of objects one, when it is a layer among others", async () => {
    const [own] = signed.layers;
    const image = bytecodeImage({
      layers: [...signed.layers, ...artifact({ layers: layer("application/vnd.in-toto+json") }).layers],
      editConfig: (config) => ({ ...config, rootfs: {} }),
    });
    expect((await extract(image)).objects.map((object) => object.layer)).toEqual([own?.digest]);
  });
});

describe("the list of what refers to an image (F15)", () => {
  const referrer = artifact({ artifactType: bundle, layers: layer(bundle), subject });
  const second = artifact({ artifactType: bundle, layers: layer(bundle, "[]"), subject });

  function listOf(...artifactTypes: readonly string[]): TestRoot {
    const entries = [referrer, second].slice(0, artifactTypes.length);
    return imageIndex(
      entries.map((image) => ({ image, platform: "" })),
      {
        editIndex: (index) => ({
          ...index,
          manifests: entries.map((image, i) => ({
            ...descriptorOf(image.manifest),
            artifactType: artifactTypes[i],
          })),
        }),
      },
    );
  }

  it.each([
    ["one bundle (D15)", [bundle]],
    ["two bundles for one image (D15)", [bundle, bundle]],
    ["types that are left empty (D15)", [mediaTypes.ociEmpty, mediaTypes.ociEmpty]],
    ["one with its type and one without", [bundle, mediaTypes.ociEmpty]],
  ])("is no image, with %s", async (_, types) => {
    const { failure, listed, requests } = await pull(listOf(...types), "sha256-0");
    expect([failure.code, failure.message, listed]).toEqual([
      "INVALID_IMAGE",
      "this is a list of signatures and attestations, not an image",
      [],
    ]);
    expect(requests).toEqual(["GET manifest 200"]);
  });

  it("with one entry whose type is left empty is told by the entry's manifest", async () => {
    const { failure } = await pull(listOf(mediaTypes.ociEmpty), "sha256-0");
    expect(failure.message).toBe(`this is a signature, not an image: a sigstore bundle, signing ${digest}`);
  });

  it("does not hide an image it is mixed with", async () => {
    const root = imageIndex([{ image: signed }, { image: referrer, platform: "" }], {
      editIndex: (index) => ({
        ...index,
        manifests: index.manifests.map((entry, i) => (i === 1 ? { ...entry, artifactType: bundle } : entry)),
      }),
    });
    const registry = await startRegistry();
    registry.add("org/prog:v1", root);
    const cache = await openTestCache();
    expect((await cache.pull(registry.reference("org/prog:v1"))).format).toBe("bpfman");
    const other = await failureOf(cache.pull(registry.reference("org/prog:v1"), { platform: "linux/arm64" }));
    expect(other.code).toBe("PLATFORM_MISMATCH");
  });
});

describe("another artifact that is no image", () => {
  it("is refused by its type, before anything else of it is fetched", async () => {
    const chart = artifact({
      config: { mediaType: "application/vnd.cncf.helm.config.v1+json", bytes: "{}" },
      layers: layer("application/vnd.cncf.helm.chart.content.v1.tar+gzip"),
    });
    const { failure, requests } = await pull(chart);
    expect(failure.message).toMatch(/this is a Helm chart \(application\/vnd\.cncf\.helm\./);
    expect(requests).toEqual(["GET manifest 200"]);
  });
});
