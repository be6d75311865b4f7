import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { parseReference } from "../../src/core/reference.js";
import { OciLayoutSource } from "../../src/source/oci-layout.js";
import {
  bytecodeImage,
  descriptorOf,
  imageIndex,
  type TestRoot,
  writeLayout,
} from "../support/image-builder.js";

const name = "registry.example/org/prog";
const image = bytecodeImage();
const tag = `sha256-${image.root.digest.slice(7)}`;
const type = "application/vnd.dev.sigstore.bundle.v0.3+json";

/** A manifest that says something of `subject`. */
function statement(role: string, subject?: TestRoot): TestRoot {
  return bytecodeImage({
    labels: { role },
    editManifest: (manifest) => ({
      ...manifest,
      artifactType: type,
      annotations: { role },
      ...(subject === undefined ? {} : { subject: descriptorOf(subject.root) }),
    }),
  });
}

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfcache-referrers-"));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

async function referrersOf(subject: TestRoot, entries: Parameters<typeof writeLayout>[1]) {
  writeLayout(directory, entries);
  const source = await OciLayoutSource.open(directory);
  expect(source.references().map(String)).toEqual([`${name}:v1`]);
  return source.referrers(parseReference(`${name}:v1`), subject.root.digest);
}

const named = { name: `${name}:v1`, root: image };

it("are the manifests without a name whose subject is the image", async () => {
  const [signature, other] = [
    statement("signature", image),
    statement("of another", bytecodeImage({ labels: {} })),
  ];
  const found = await referrersOf(image, [named, { root: signature }, { root: other }]);
  expect(found).toMatchObject([
    {
      digest: signature.root.digest,
      size: signature.root.size,
      artifactType: type,
      annotations: { role: "signature" },
    },
  ]);
  expect(found).toHaveLength(1);
});

it.each(["sig", "att", "sbom"])("are what cosign's tag .%s names", async (role) => {
  const signature = statement(role);
  const found = await referrersOf(image, [named, { name: `${tag}.${role}`, root: signature }]);
  expect(found.map(({ digest }) => digest)).toEqual([signature.root.digest]);
});

it("are what the index under the fall-back's tag lists", async () => {
  const signatures = [statement("one", image), statement("two", image)];
  const index = imageIndex(signatures.map((signature) => ({ image: signature, platform: "" })));
  const found = await referrersOf(image, [named, { name: `${name}:${tag}`, root: index }]);
  expect(found.map(({ digest }) => digest)).toEqual(signatures.map(({ root }) => root.digest));
});

it("are listed once, however often they are named", async () => {
  const signature = statement("one", image);
  const index = imageIndex([{ image: signature, platform: "" }]);
  const entries = [
    named,
    { root: signature },
    { name: tag, root: index },
    { name: `${tag}.sig`, root: signature },
  ];
  expect(await referrersOf(image, entries)).toHaveLength(1);
});

it("are none of an image that nothing refers to", async () => {
  expect(await referrersOf(image, [named])).toEqual([]);
});

it("are found without a look into what has a name, and missing ones do no harm", async () => {
  writeLayout(directory, [named, { root: statement("signature", image) }]);
  const source = await OciLayoutSource.open(directory);
  const blobs = join(directory, "blobs", "sha256");
  for (const file of readdirSync(blobs)) rmSync(join(blobs, file));
  expect(await source.referrers(parseReference(`${name}:v1`), image.root.digest)).toEqual([]);
});
