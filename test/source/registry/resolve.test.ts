import { describe, expect, it } from "vitest";
import { digestOf } from "../../../src/core/digest.js";
import { parseReference } from "../../../src/core/reference.js";
import { mediaTypes } from "../../../src/image/media-types.js";
import { status } from "./fault-server.js";
import { failureOf, fetchBytes, pullImage, recorder, sourceFor, startRegistry } from "./support.js";

describe("a registry without authentication", () => {
  it("costs three requests for an image of one manifest, one config and one layer", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    let counted = 0;
    const layer = await pullImage(sourceFor(), image, { onRequest: () => counted++ });
    expect(layer).toEqual(image.layerBytes);
    expect(registry.server.log).toHaveLength(3);
    expect(registry.server.log[0]).toBe("GET /v2/org/program/manifests/v1");
    expect(counted).toBe(3);
  });

  it("gets all four manifest types named in one Accept header, and no compression asked for", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    await sourceFor().resolve(image.reference);
    const headers = registry.server.seen[0]?.headers ?? {};
    for (const type of ["ociIndex", "ociManifest", "dockerList", "dockerManifest"] as const) {
      expect(headers.accept).toContain(mediaTypes[type]);
    }
    expect(headers["accept-encoding"]).toBe("identity");
  });
});

describe("resolving", () => {
  it("returns the bytes, their own digest, the type without parameters, and the etag", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    registry.extraHeaders = { "content-type": `${mediaTypes.ociManifest}; charset=utf-8` };
    registry.server.on(/manifests/, (_, response) =>
      response
        .writeHead(200, { "content-type": `${mediaTypes.ociManifest}; charset=utf-8`, etag: '"e1"' })
        .end(image.manifest),
    );
    const found = await sourceFor().resolve(image.reference);
    expect(found).toEqual({
      unchanged: false,
      descriptor: image.descriptor,
      bytes: image.manifest,
      etag: '"e1"',
    });
  });

  it("asks by digest when the reference has one, whatever its tag", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const pinned = parseReference(`${registry.server.host}/org/program:other@${image.descriptor.digest}`);
    await sourceFor().resolve(pinned);
    expect(registry.server.log).toEqual([`GET /v2/org/program/manifests/${image.descriptor.digest}`]);
  });

  it("checks a sha512 pin with sha512", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const digest = digestOf(image.manifest, "sha512");
    const found = await sourceFor().resolve(parseReference(`${registry.server.host}/org/program@${digest}`));
    expect(found).toMatchObject({ descriptor: { digest } });
  });

  it("refuses other bytes than the pin names, though Docker-Content-Digest agrees with the pin", async () => {
    const registry = await startRegistry();
    const { descriptor } = registry.addImage();
    registry.server.on(/manifests/, status(200, { "docker-content-digest": descriptor.digest }, "{}"));
    const pinned = parseReference(`${registry.server.host}/org/program@${descriptor.digest}`);
    const failure = await failureOf(sourceFor().resolve(pinned));
    expect(failure).toMatchObject({ code: "DIGEST_MISMATCH", expected: descriptor.digest });
    expect(failure.reference).toBe(pinned.toString());
  });

  it("takes a wrong Docker-Content-Digest for a tag as a remark", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    registry.extraHeaders = { "docker-content-digest": digestOf(Buffer.from("else")) };
    const { events, onEvent } = recorder();
    const found = await sourceFor().resolve(image.reference, { onEvent });
    expect(found).toMatchObject({ descriptor: { digest: image.descriptor.digest } });
    expect(events.filter(({ event }) => event === "warning")).toHaveLength(1);
  });

  it("stops reading a manifest at the limit", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    registry.server.on(/manifests/, (_, response) => {
      response.writeHead(200, { "content-type": mediaTypes.ociManifest });
      const more = () => {
        while (!response.destroyed && response.write(Buffer.alloc(10_000, 32)));
      };
      response.on("drain", more);
      more();
    });
    const failure = await failureOf(
      sourceFor({ limits: { manifestBytes: 50_000 } }).resolve(image.reference),
    );
    expect(failure.code).toBe("INVALID_IMAGE");
  });
});

describe("revalidating", () => {
  it("costs one request and no body when the registry knows If-None-Match", async () => {
    const registry = await startRegistry();
    const { reference, descriptor } = registry.addImage();
    const found = await sourceFor().resolve(reference, { known: { digest: descriptor.digest } });
    expect(found).toMatchObject({ unchanged: true });
    expect(registry.server.seen[0]?.headers["if-none-match"]).toBe(`"${descriptor.digest}"`);
    expect(registry.server.seen).toHaveLength(1);
  });

  it("sends the etag as it was given", async () => {
    const registry = await startRegistry();
    const { reference, descriptor } = registry.addImage();
    registry.server.on(/manifests/, status(304));
    const known = { digest: descriptor.digest, etag: 'W/"abc"' };
    expect(await sourceFor().resolve(reference, { known })).toMatchObject({ unchanged: true });
    expect(registry.server.seen[0]?.headers["if-none-match"]).toBe('W/"abc"');
  });

  it("finds the same bytes unchanged when the registry ignores If-None-Match", async () => {
    const registry = await startRegistry();
    const { reference, descriptor, manifest } = registry.addImage();
    registry.server.on(
      /manifests/,
      status(200, { "content-type": mediaTypes.ociManifest }, manifest.toString()),
    );
    const found = await sourceFor().resolve(reference, { known: { digest: descriptor.digest } });
    expect(found).toMatchObject({ unchanged: true });
  });

  it("returns the new document when the tag has moved", async () => {
    const registry = await startRegistry();
    const old = registry.addImage();
    const moved = registry.addImage();
    const found = await sourceFor().resolve(moved.reference, { known: { digest: old.descriptor.digest } });
    expect(found).toMatchObject({ unchanged: false, descriptor: { digest: moved.descriptor.digest } });
  });

  it("asks nothing when the reference's own digest is known", async () => {
    const registry = await startRegistry();
    const { descriptor } = registry.addImage();
    const pinned = parseReference(`${registry.server.host}/org/program@${descriptor.digest}`);
    const found = await sourceFor().resolve(pinned, { known: { digest: descriptor.digest } });
    expect(found).toMatchObject({ unchanged: true });
    expect(registry.server.seen).toHaveLength(0);
  });
});

describe("fetching", () => {
  it("gets manifests from /manifests/ and everything else from /blobs/", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const source = sourceFor();
    expect(await fetchBytes(source, image.reference, image.descriptor)).toEqual(image.manifest);
    expect(await fetchBytes(source, image.reference, image.layer)).toEqual(image.layerBytes);
    expect(registry.server.log).toEqual([
      `GET /v2/org/program/manifests/${image.descriptor.digest}`,
      `GET /v2/org/program/blobs/${image.layer.digest}`,
    ]);
  });

  it("ends one byte after the size that was promised", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const bytes = await fetchBytes(sourceFor(), image.reference, { ...image.layer, size: 1_000 });
    expect(bytes).toHaveLength(1_001);
  });

  it("refuses foreign layers without a request, saying why", async () => {
    const registry = await startRegistry();
    const { reference, layer } = registry.addImage();
    const foreign = { ...layer, urls: ["http://127.0.0.1/layer"] };
    const failure = await failureOf(sourceFor().fetch(reference, foreign));
    expect(failure).toMatchObject({ code: "INVALID_IMAGE" });
    expect(failure.message).toContain("foreign layer");
    expect(registry.server.seen).toHaveLength(0);
  });

  it("says NOT_FOUND with the registry's own words before anything is read", async () => {
    const registry = await startRegistry();
    const { reference, layer } = registry.addImage();
    const failure = await failureOf(
      sourceFor().fetch(reference, { ...layer, digest: digestOf(Buffer.from("nowhere")) }),
    );
    expect(failure.code).toBe("NOT_FOUND");
    expect(failure.message).toContain("BLOB_UNKNOWN: it is not here");
    expect(failure.reference).toBe(reference.toString());
  });

  it("gives its connection back when the reader stops early, and the next request works", async () => {
    const registry = await startRegistry();
    const image = registry.addImage("org/program", "v1", Buffer.alloc(5_000_000, 1));
    const source = sourceFor();
    for await (const _ of await source.fetch(image.reference, image.layer)) break;
    expect(await fetchBytes(source, image.reference, image.config)).toHaveLength(image.config.size);
  });
});
