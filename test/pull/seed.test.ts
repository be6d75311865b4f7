import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import type { CacheEvent } from "../../src/core/events.js";
import { layoutTar } from "../support/archives.js";
import { type ArtifactOptions, artifact } from "../support/artifact-builder.js";
import {
  gzip,
  imageIndex,
  minimalBpfElf,
  type TestImage,
  type TestRoot,
  writeLayout,
} from "../support/image-builder.js";
import type { LayoutEntry } from "../support/layout.js";
import { failureOf, imageNamed, openTestCache, rowsIn, temporaryDirectory } from "./support.js";

const nameOf = (program: string): string => `quay.io/org/${program}:v1`;
const tarOf = (...programs: readonly string[]): Buffer =>
  layoutTar(programs.map((program) => ({ name: nameOf(program), root: imageNamed(program) })));

/** An index as BuildKit writes it, with one image, and the layout's entries for what else refers to the two. */
function referrersInLayout(image: TestImage): { about: TestRoot; entries: LayoutEntry[] } {
  const statement = (mediaType: string, options: ArtifactOptions = {}): TestImage =>
    artifact({ layers: [{ mediaType, bytes: JSON.stringify(options) }], ...options });
  const bundle = "application/vnd.dev.sigstore.bundle.v0.3+json";
  const simpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json";
  const annotations = {
    "vnd.docker.reference.type": "attestation-manifest",
    "vnd.docker.reference.digest": image.root.digest,
  };
  const attestation = statement("application/vnd.in-toto+json");
  const about = imageIndex([{ image }, { image: attestation, platform: "unknown/unknown", annotations }]);
  const subject = about.root;
  const tag = (digest: string): string => digest.replace(":", "-");
  const inList = statement(bundle, { artifactType: bundle, subject, annotations: { in: "list" } });
  return {
    about,
    entries: [
      { name: `${tag(subject.digest)}.sig`, root: statement(simpleSigning) },
      {
        root: statement(simpleSigning, {
          config: { mediaType: "application/vnd.dev.cosign.artifact.sig.v1+json", bytes: "{}" },
          subject: image.root,
        }),
      },
      { root: statement(bundle, { artifactType: bundle, subject }) },
      {
        root: statement("application/jose+json", {
          artifactType: "application/vnd.cncf.notary.signature",
          subject,
        }),
      },
      {
        name: tag(subject.digest),
        root: imageIndex([{ image: inList, platform: "" }]),
      },
    ],
  };
}

function fileWith(bytes: Uint8Array, name = "file"): string {
  const path = join(temporaryDirectory(), name);
  writeFileSync(path, bytes);
  return path;
}

async function* inPieces(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.byteLength; at += 1000) yield bytes.subarray(at, at + 1000);
}

describe("seeding", () => {
  it("takes in all images of an archive, and of several", async () => {
    const cache = await openTestCache();
    const { images, failed } = await cache.seed([fileWith(tarOf("a", "b")), fileWith(gzip(tarOf("c")))]);
    expect(images.map(({ reference }) => reference)).toEqual(["a", "b", "c"].map(nameOf));
    expect(new Set(images.map(({ from }) => from))).toEqual(new Set(["layout"]));
    expect(failed).toEqual([]);
  });

  it.each([
    ["plain", tarOf("a")],
    ["packed", gzip(tarOf("a"))],
  ])("reads - from the input, %s", async (_, bytes) => {
    const cache = await openTestCache();
    const { images } = await cache.seed(["-"], { input: inPieces(bytes) });
    expect(images).toMatchObject([{ reference: nameOf("a"), rootDigest: imageNamed("a").root.digest }]);
    expect(await failureOf(cache.seed(["-"]))).toMatchObject({ code: "USAGE" });
  });

  it("stops nothing else when a file cannot be read, and is an error when there is nothing else", async () => {
    const cache = await openTestCache();
    const none = join(temporaryDirectory(), "none");
    const bad = fileWith(Buffer.from("no image"));
    const { images, failed } = await cache.seed([none, fileWith(tarOf("a")), bad]);
    expect(images).toHaveLength(1);
    expect(failed).toMatchObject(
      [
        { reference: none, code: "NOT_FOUND" },
        { reference: bad, code: "INVALID_IMAGE" },
      ].sort((x, y) => (x.reference < y.reference ? -1 : 1)),
    );
    expect(await failureOf(cache.seed([none]))).toMatchObject({ code: "NOT_FOUND" });
  });

  it("takes in the layouts and files of a directory, and passes over what is neither with a warning", async () => {
    const directory = temporaryDirectory();
    writeLayout(join(directory, "layout"), [{ name: nameOf("a"), root: imageNamed("a") }]);
    writeFileSync(join(directory, "b.tar"), tarOf("b"));
    writeFileSync(join(directory, "notes.txt"), "not an image");
    mkdirSync(join(directory, "empty"));
    const events: CacheEvent[] = [];
    const cache = await openTestCache();
    const { images, failed } = await cache.seed([directory], { onEvent: (event) => events.push(event) });
    expect(images.map(({ reference }) => reference)).toEqual(["a", "b"].map(nameOf));
    expect(failed).toEqual([]);
    expect(events.filter(({ event }) => event === "warning")).toMatchObject([
      { message: expect.stringContaining("notes.txt") },
    ]);
    expect(await failureOf(cache.seed([join(directory, "empty")]))).toMatchObject({ code: "NOT_FOUND" });
  });

  it("names an object file, whose digest is the object's", async () => {
    const object = minimalBpfElf();
    const cache = await openTestCache();
    const path = fileWith(object, "drop.o");
    const { images } = await cache.seed([path], { as: "quay.io/org/drop:v2" });
    expect(images).toMatchObject([
      {
        reference: "quay.io/org/drop:v2",
        from: "object-file",
        format: "artifact",
        objects: [{ name: "drop.o", digest: digestOf(object) }],
      },
    ]);
    expect(await failureOf(cache.seed([path]))).toMatchObject({ code: "USAGE" });
  });

  it("keeps what refers to an image with it, and lists none of that as an image (F11 to F15)", async () => {
    const image = imageNamed("a");
    const { about, entries } = referrersInLayout(image);
    const archive = layoutTar([{ name: nameOf("a"), root: about }, ...entries]);
    const cache = await openTestCache();
    const { images, failed } = await cache.seed([fileWith(archive)]);
    expect([images.map(({ reference }) => reference), failed]).toEqual([[nameOf("a")], []]);
    expect(cache.list().map(({ reference }) => reference)).toEqual([nameOf("a")]);
    const kinds = cache.inspect(nameOf("a")).referrers.map(({ subject, kind }) => [kind, subject]);
    expect(kinds.sort()).toEqual(
      [
        ["cosign signature", image.root.digest],
        ["cosign signature", about.root.digest],
        ["in-toto attestation", image.root.digest],
        ["notation signature", about.root.digest],
        ["sigstore bundle", about.root.digest],
        ["sigstore bundle", about.root.digest],
      ].sort(),
    );
  });

  it("keeps them over an export and another seed", async () => {
    const { about, entries } = referrersInLayout(imageNamed("a"));
    const cache = await openTestCache();
    await cache.seed([fileWith(layoutTar([{ name: nameOf("a"), root: about }, ...entries]))]);
    const output = join(temporaryDirectory(), "export.tar");
    await cache.export([nameOf("a")], { output });
    const other = await openTestCache();
    await other.seed([output]);
    expect(other.inspect(nameOf("a")).referrers).toEqual(cache.inspect(nameOf("a")).referrers);
    expect(other.list().map(({ reference }) => reference)).toEqual([nameOf("a")]);
  });

  it("reads no blob of what is here already", async () => {
    const directory = temporaryDirectory();
    writeLayout(directory, [{ name: nameOf("a"), root: imageNamed("a") }]);
    const cache = await openTestCache();
    await cache.seed([directory]);
    rmSync(join(directory, "blobs"), { recursive: true });
    const { images } = await cache.seed([directory]);
    expect(images).toMatchObject([{ from: "cache", bytesFetched: 0 }]);
  });

  it("moves no cached reference without overwrite, and fails only for that one", async () => {
    const cache = await openTestCache();
    await cache.seed([fileWith(tarOf("a"))]);
    const moved = fileWith(
      layoutTar([
        { name: nameOf("a"), root: imageNamed("other") },
        { name: nameOf("b"), root: imageNamed("b") },
      ]),
    );
    const { images, failed } = await cache.seed([moved]);
    expect(images.map(({ reference }) => reference)).toEqual([nameOf("b")]);
    expect(failed).toMatchObject([{ reference: nameOf("a"), code: "USAGE" }]);
    const { images: both } = await cache.seed([moved], { overwrite: true });
    expect(both.map(({ rootDigest }) => rootDigest)).toContain(imageNamed("other").root.digest);
  });

  it("leaves neither rows nor files behind of an image that is damaged", async () => {
    const directory = temporaryDirectory();
    const image = imageNamed("a");
    image.blobs.set(image.layers[0]?.digest ?? "", Buffer.from("damaged"));
    const archive = gzip(layoutTar([{ name: nameOf("a"), root: image }]));
    const cache = await openTestCache({ directory });
    const { failed } = await cache.seed([fileWith(archive)]);
    expect(failed).toMatchObject([{ code: "DIGEST_MISMATCH" }]);
    await cache.close();
    expect(rowsIn(directory)).toEqual({});
    expect(readdirSync(directory).sort()).toEqual(["data.mdb", "lock.mdb", "open"]);
  });

  it("ends with INTERRUPTED when it is aborted, and keeps what it has", async () => {
    const cache = await openTestCache();
    const controller = new AbortController();
    const bytes = readFileSync(fileWith(tarOf("a")));
    async function* endless(): AsyncGenerator<Uint8Array> {
      yield bytes.subarray(0, 1000);
      controller.abort();
      yield bytes.subarray(1000);
    }
    const { signal } = controller;
    const seeding = cache.seed([fileWith(tarOf("b")), "-"], { input: endless(), signal });
    expect(await failureOf(seeding)).toMatchObject({ code: "INTERRUPTED" });
    expect(cache.list().map(({ reference }) => reference)).toEqual([nameOf("b")]);
  });
});
