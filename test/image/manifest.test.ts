import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import { BpfcacheError } from "../../src/core/errors.js";
import { parseManifest } from "../../src/image/manifest.js";
import { mediaTypes } from "../../src/image/media-types.js";

const descriptor = { mediaType: mediaTypes.ociConfig, digest: digestOf(Buffer.of(1)), size: 1 };
const manifest = { schemaVersion: 2, config: descriptor, layers: [descriptor] };
const index = { schemaVersion: 2, manifests: [{ ...descriptor, mediaType: mediaTypes.ociManifest }] };

function parse(json: unknown, mediaType: string = mediaTypes.ociManifest): ReturnType<typeof parseManifest> {
  return parseManifest(Buffer.from(JSON.stringify(json)), mediaType);
}

describe("parseManifest", () => {
  it.each([mediaTypes.ociManifest, mediaTypes.dockerManifest])("reads %s", (mediaType) => {
    expect(parse({ ...manifest, mediaType }, mediaType)).toMatchObject({
      kind: "manifest",
      mediaType,
      layers: [descriptor],
    });
  });

  it.each([mediaTypes.ociIndex, mediaTypes.dockerList])("reads %s", (mediaType) => {
    expect(parse({ ...index, mediaType }, mediaType)).toMatchObject({ kind: "index", mediaType });
  });

  it("needs no mediaType in the document", () => {
    expect(parse(manifest).kind).toBe("manifest");
    expect(parse(index, mediaTypes.ociIndex).kind).toBe("index");
  });

  it("believes the document when the server calls it application/json or text/plain", () => {
    expect(parse({ ...index, mediaType: mediaTypes.dockerList }, "application/json").mediaType).toBe(
      mediaTypes.dockerList,
    );
    expect(parse(index, "text/plain").kind).toBe("index");
    expect(parse(manifest, "").kind).toBe("manifest");
  });

  it("ignores the parameters of a Content-Type", () => {
    expect(parse(manifest, `${mediaTypes.ociManifest}; charset=utf-8`).kind).toBe("manifest");
  });

  it("takes null for absent, as hand-made documents have it", () => {
    const loose = {
      ...manifest,
      annotations: null,
      subject: null,
      layers: [{ ...descriptor, platform: null, urls: null }],
    };
    expect(parse(loose)).toMatchObject({ kind: "manifest", annotations: undefined });
  });

  it("an index may mix OCI and Docker manifests", () => {
    const manifests = [mediaTypes.dockerManifest, mediaTypes.ociManifest].map((mediaType) => ({
      ...descriptor,
      mediaType,
    }));
    expect(parse({ schemaVersion: 2, manifests }, mediaTypes.dockerList)).toMatchObject({ manifests });
  });

  it.each([
    ["a manifest with manifests", { ...manifest, manifests: [] }, mediaTypes.ociManifest, "CVE-2021-41190"],
    ["an index with layers", { ...index, layers: [] }, mediaTypes.ociIndex, "CVE-2021-41190"],
    ["an index with a config", { ...index, config: descriptor }, mediaTypes.ociIndex, "CVE-2021-41190"],
    [
      "a type other than the one served",
      { ...manifest, mediaType: mediaTypes.dockerManifest },
      mediaTypes.ociManifest,
      "was served as",
    ],
    ["schema 1", { schemaVersion: 1, fsLayers: [] }, "application/json", "schema 1"],
    ["schema 1 by its type", manifest, mediaTypes.dockerSchema1Signed, "schema 1"],
    ["another kind of document", { mediaType: "application/x" }, "application/json", "neither"],
    ["no config", { schemaVersion: 2, layers: [] }, mediaTypes.ociManifest, "config"],
    [
      "a path for a digest",
      { ...manifest, config: { ...descriptor, digest: "sha256:../../etc/passwd" } },
      mediaTypes.ociManifest,
      "config.digest",
    ],
    [
      "a negative size",
      { ...manifest, config: { ...descriptor, size: -1 } },
      mediaTypes.ociManifest,
      "config.size",
    ],
    [
      "a size beyond integers",
      { ...manifest, config: { ...descriptor, size: 2 ** 60 } },
      mediaTypes.ociManifest,
      "config.size",
    ],
    [
      "a fractional size",
      { ...manifest, layers: [{ ...descriptor, size: 0.5 }] },
      mediaTypes.ociManifest,
      "layers.0.size",
    ],
    [
      "1,001 layers",
      { ...manifest, layers: Array(1_001).fill(descriptor) },
      mediaTypes.ociManifest,
      "layers",
    ],
    ["an array", [], mediaTypes.ociManifest, "not a JSON object"],
    ["null", null, mediaTypes.ociManifest, "not a JSON object"],
  ])("refuses %s", (_, json, mediaType, reason) => {
    expect(() => parse(json, mediaType)).toThrow(
      expect.objectContaining({ code: "INVALID_IMAGE", message: expect.stringContaining(reason) }),
    );
  });

  it("refuses what is not UTF-8 or not JSON", () => {
    for (const bytes of [Buffer.of(0xff, 0xfe), Buffer.from("{"), Buffer.alloc(0)]) {
      expect(() => parseManifest(bytes, mediaTypes.ociManifest)).toThrow(
        expect.objectContaining({ code: "INVALID_IMAGE" }),
      );
    }
  });

  it("gives a document or INVALID_IMAGE for any JSON", () => {
    const document = fc.record(
      {
        schemaVersion: fc.constantFrom(1, 2, "2"),
        mediaType: fc.constantFrom(...Object.values(mediaTypes), 7, null),
        config: fc.oneof(fc.constant(descriptor), fc.jsonValue()),
        layers: fc.oneof(fc.constant([descriptor]), fc.jsonValue()),
        manifests: fc.oneof(fc.constant([descriptor]), fc.jsonValue()),
      },
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(document, fc.constantFrom(...Object.values(mediaTypes), ""), (json, mediaType) => {
        try {
          expect(["manifest", "index"]).toContain(parse(json, mediaType).kind);
        } catch (error) {
          expect(error).toBeInstanceOf(BpfcacheError);
          expect((error as BpfcacheError).code).toBe("INVALID_IMAGE");
        }
      }),
    );
  });
});
