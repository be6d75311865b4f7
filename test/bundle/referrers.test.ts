import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { digestHex, digestOf } from "../../src/core/digest.js";
import { OciLayoutSource } from "../../src/source/oci-layout.js";
import { imageNamed, temporaryDirectory } from "../pull/support.js";
import { attached, keepStatements, type Statement, tagged } from "./statements.js";
import { blobsIn, cacheWith, type IndexJson, newPath, readJson } from "./support.js";

const reference = "registry.example/org/signed:v1";
const image = imageNamed("signed");
const subject = image.root;

async function cacheWithSigned(statements: readonly Statement[]): ReturnType<typeof cacheWith> {
  const directory = temporaryDirectory();
  const cache = await cacheWith({ [reference]: image }, { directory });
  keepStatements(directory, statements);
  return cache;
}

const bundle = attached("application/vnd.dev.sigstore.bundle.v0.3+json", subject, "a bundle");
const onBundle = attached("application/vnd.cncf.notary.signature", bundle.manifest, "on the bundle");
const legacy = tagged("application/vnd.dev.cosign.simplesigning.v1+json", subject, "a signature");
const attestation = tagged("application/vnd.dsse.envelope.v1+json", subject, "an attestation");

describe("what is signed and attested of an image", () => {
  it("goes with it, with what is said about that in turn", async () => {
    const cache = await cacheWithSigned([bundle, onBundle]);
    const output = newPath("layout");
    await cache.export([reference], { output });
    for (const { manifest, blobs } of [bundle, onBundle]) {
      for (const { digest } of [manifest, ...blobs.map(({ blob }) => blob)]) {
        expect(digestOf(readFileSync(join(output, "blobs", digest.replace(":", "/"))))).toBe(digest);
      }
    }
  });

  it("is listed without a name where it names its subject, by its type", async () => {
    const cache = await cacheWithSigned([bundle]);
    const output = newPath("layout");
    await cache.export([reference], { output });
    const { manifests } = readJson<IndexJson>(output, "index.json");
    const { digest, size, mediaType } = bundle.manifest;
    expect(manifests).toHaveLength(2);
    expect(manifests[1]).toEqual({ mediaType, artifactType: bundle.artifactType, digest, size });
  });

  it.each([
    ["sig", legacy],
    ["att", attestation],
  ])("has the tag that cosign looks for, .%s, where it names none", async (suffix, statement) => {
    const cache = await cacheWithSigned([statement]);
    const output = newPath("layout");
    await cache.export([reference], { output });
    const { manifests } = readJson<IndexJson>(output, "index.json");
    const tag = `sha256-${digestHex(subject.digest)}.${suffix}`;
    expect(manifests.find(({ digest }) => digest === statement.manifest.digest)?.annotations).toEqual({
      "io.containerd.image.name": `registry.example/org/signed:${tag}`,
      "org.opencontainers.image.ref.name": tag,
    });
  });

  it("is no image of its own to whoever takes the layout in", async () => {
    const cache = await cacheWithSigned([bundle, legacy]);
    const output = newPath("layout");
    await cache.export([reference], { output });
    const source = await OciLayoutSource.open(output);
    expect(source.references().map(String)).toEqual([reference]);
  });

  it("is not said twice in an update, and is what an update is about when it is new", async () => {
    const unsigned = await cacheWithSigned([]);
    const [base, update, nothing] = [newPath("base"), newPath("update"), newPath("nothing")] as const;
    await unsigned.export([reference], { output: base });
    const signed = await cacheWithSigned([bundle]);
    await signed.export([reference], { output: update, since: `${base}.lock.json` });
    const blobs = bundle.blobs.map(({ blob }) => blob.digest);
    expect(blobsIn(update).sort()).toEqual([subject.digest, bundle.manifest.digest, ...blobs].sort());
    const again = newPath("again");
    await (await cacheWithSigned([bundle, legacy])).export([reference], {
      output: again,
      since: `${update}.lock.json`,
    });
    const listed = readJson<IndexJson>(again, "index.json").manifests.map(({ digest }) => digest);
    expect(listed.sort()).toEqual([subject.digest, legacy.manifest.digest].sort());
    await signed.export([reference], { output: nothing, since: `${update}.lock.json` });
    expect(blobsIn(nothing)).toEqual([]);
  });

  it("has the same bytes in whatever order it was found", async () => {
    const outputs = [newPath("a.tar"), newPath("b.tar")] as const;
    const inOneOrder = await cacheWithSigned([bundle, onBundle, legacy, attestation]);
    const inAnother = await cacheWithSigned([attestation, legacy, bundle, onBundle]);
    await inOneOrder.export([reference], { output: outputs[0] });
    await inAnother.export([reference], { output: outputs[1] });
    expect(readFileSync(outputs[0])).toEqual(readFileSync(outputs[1]));
  });
});
