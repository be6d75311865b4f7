import { describe, expect, it } from "vitest";
import type { Descriptor } from "../../../src/image/descriptor.js";
import { mediaTypes } from "../../../src/image/media-types.js";
import { nextLink } from "../../../src/source/registry/next-link.js";
import { type Responder, status, times } from "./fault-server.js";
import { failureOf, login, recorder, sourceFor, startRegistry, startServer } from "./support.js";

function index(...manifests: Descriptor[]): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests });
}

function page(body: string, link?: string): Responder {
  return status(200, { "content-type": mediaTypes.ociIndex, ...(link === undefined ? {} : { link }) }, body);
}

const signature = "application/vnd.dev.sigstore.bundle.v0.3+json";

describe("referrers", () => {
  it("come from the API, page by page, with the type in the query and checked here too", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const one = { ...image.config, artifactType: signature };
    const other = { ...image.config, artifactType: "text/spdx" };
    const next = `</v2/org/program/referrers/x?n=2>; title="a, b"; rel="next"`;
    registry.server.on(/referrers/, page(index(one, other), next), page(index(one)));
    const found = await sourceFor().referrers(image.reference, image.descriptor.digest, {
      artifactType: signature,
    });
    expect(found.map(({ artifactType }) => artifactType)).toEqual([signature, signature]);
    expect(registry.server.log[0]).toContain(`?artifactType=${encodeURIComponent(signature)}`);
    expect(registry.server.log[1]).toBe("GET /v2/org/program/referrers/x?n=2");
  });

  it("come from the tag where there is no API, which is then not tried again", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const tag = image.descriptor.digest.replace(":", "-");
    registry.putManifest("org/program", tag, Buffer.from(index(image.config)), mediaTypes.ociIndex);
    const source = sourceFor();
    for (const _ of [1, 2]) {
      expect(await source.referrers(image.reference, image.descriptor.digest)).toHaveLength(1);
    }
    expect(registry.server.log.map((line) => line.split("/")[4])).toEqual([
      "referrers",
      "manifests",
      "manifests",
    ]);
  });

  it("are none where there is neither, nor where a page for browsers answers", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    expect(await sourceFor().referrers(image.reference, image.descriptor.digest)).toEqual([]);
    registry.server.on(/referrers/, status(200, { "content-type": "text/html" }, "<html>"));
    expect(await sourceFor().referrers(image.reference, image.descriptor.digest)).toEqual([]);
  });

  it.each([
    ["another origin", (sink: string) => `<${sink}/v2/org/program/referrers/x>; rel="next"`],
    ["another repository", () => `</v2/org/else/referrers/x>; rel="next"`],
    ["out of the repository by dots", () => `</v2/org/program/../else/referrers/x>; rel=next`],
    ["nonsense", () => `<http://[>; rel="next"`],
  ])("are not followed to %s (GHSA-h7vf-4x9w-h99v)", async (_, link) => {
    const registry = await startRegistry({ kind: "basic", user: "ann:secret" });
    const sink = await startServer();
    const image = registry.addImage();
    registry.server.on(/referrers/, page(index(), link(sink.origin)));
    const source = sourceFor({ credentials: login("ann", "secret") });
    const failure = await failureOf(source.referrers(image.reference, image.descriptor.digest));
    expect(failure.code).toBe("UNREACHABLE");
    expect(sink.seen).toHaveLength(0);
    expect(registry.server.seen).toHaveLength(1);
  });

  it("on pages without end are INVALID_IMAGE", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    registry.server.on(/referrers/, ...times(500, page(index(), "</v2/org/program/referrers/x>; rel=next")));
    const { events, onEvent } = recorder();
    const failure = await failureOf(
      sourceFor().referrers(image.reference, image.descriptor.digest, { onEvent }),
    );
    expect(failure.code).toBe("INVALID_IMAGE");
    expect(events).toHaveLength(100);
  });

  it("that are malformed are INVALID_IMAGE", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    registry.server.on(/referrers/, page('{"manifests":[{"digest":"../../etc/passwd"}]}'));
    const failure = await failureOf(sourceFor().referrers(image.reference, image.descriptor.digest));
    expect(failure.code).toBe("INVALID_IMAGE");
  });
});

describe("Link", () => {
  it.each([
    ['</a>; rel="next"', "/a"],
    ["</a>;rel=next", "/a"],
    ['</b>; rel="prev", </a>; rel="next"', "/a"],
    ['</a>; rel="last next"', "/a"],
    ['</a>; rel="nextish"', undefined],
    ['</a>; title="rel=next"', undefined],
    ["</a", undefined],
  ])("%s leads to %j", (header, target) => {
    expect(nextLink([header])).toBe(target);
  });
});
