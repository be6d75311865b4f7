import { describe, expect, it } from "vitest";
import { digestOf } from "../../../src/core/digest.js";
import type { Descriptor } from "../../../src/image/descriptor.js";
import { mediaTypes } from "../../../src/image/media-types.js";
import { nextLink } from "../../../src/source/registry/next-link.js";
import { type Responder, status, times } from "./fault-server.js";
import { failureOf, login, sourceFor, startRegistry, startServer } from "./support.js";
import type { TestRegistry } from "./test-registry.js";

function index(...manifests: Descriptor[]): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests });
}

function page(body: string, link?: string): Responder {
  return status(200, { "content-type": mediaTypes.ociIndex, ...(link === undefined ? {} : { link }) }, body);
}

/** Paths that were asked for, those that match. */
function pathsOf(registry: TestRegistry, pattern: RegExp): string[] {
  return registry.server.log.map((line) => line.replace(/^GET /, "")).filter((path) => pattern.test(path));
}

/** The tag or digest that was asked for. */
function keyOf(line: string): string {
  return line.split("/").at(-1) ?? "";
}

const signature = "application/vnd.dev.sigstore.bundle.v0.3+json";

describe("referrers", () => {
  it("come from the API, page by page, each once", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const one = { ...image.config, artifactType: signature };
    const other = { ...image.layer, artifactType: "text/spdx" };
    const next = `</v2/org/program/referrers/x?n=2>; title="a, b"; rel="next"`;
    registry.server.on(/referrers/, page(index(one), next), page(index(one, other)));
    const found = await sourceFor().referrers(image.reference, image.descriptor.digest);
    expect(found.map(({ digest }) => digest)).toEqual([one.digest, other.digest]);
    expect(pathsOf(registry, /referrers/)).toEqual([
      `/v2/org/program/referrers/${image.descriptor.digest}`,
      "/v2/org/program/referrers/x?n=2",
    ]);
  });

  it("cost four requests at a registry with the API: the list, and a tag for each kind of cosign's", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    registry.server.on(/referrers/, page(index()));
    expect(await sourceFor().referrers(image.reference, image.descriptor.digest)).toEqual([]);
    const tag = image.descriptor.digest.replace(":", "-");
    expect(registry.server.log.map(keyOf).sort()).toEqual(
      [`${tag}.att`, `${tag}.sbom`, `${tag}.sig`, image.descriptor.digest].sort(),
    );
  });

  it("cost five without it, and four once that is known", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const tag = image.descriptor.digest.replace(":", "-");
    registry.putManifest("org/program", tag, Buffer.from(index(image.config)), mediaTypes.ociIndex);
    const source = sourceFor();
    expect(await source.referrers(image.reference, image.descriptor.digest)).toEqual([image.config]);
    expect(registry.server.log).toHaveLength(5);
    expect(await source.referrers(image.reference, image.descriptor.digest)).toEqual([image.config]);
    expect(registry.server.log).toHaveLength(9);
    expect(pathsOf(registry, /referrers/)).toHaveLength(1);
  });

  it("cost one round trip: no answer is waited for before the others are asked", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const source = sourceFor();
    await source.resolve(image.reference); // To a registry nobody has heard from, one request goes ahead.
    const waiting: (() => void)[] = [];
    const together: Responder = (request, response) => {
      waiting.push(() => page(index())(request, response));
      if (waiting.length === 4) for (const answer of waiting) answer();
    };
    registry.server.on(/./, ...times(4, together));
    await source.referrers(image.reference, image.descriptor.digest);
    expect(waiting).toHaveLength(4);
  });

  it("are still looked for by the API when one repository is unknown to the registry", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const unknown = '{"errors":[{"code":"NAME_UNKNOWN","message":"no such repository"}]}';
    registry.server.on(
      /referrers/,
      status(404, { "content-type": "application/json" }, unknown),
      page(index(image.config)),
    );
    const source = sourceFor();
    expect(await source.referrers(image.reference, image.descriptor.digest)).toEqual([]);
    expect(await source.referrers(image.reference, image.descriptor.digest)).toEqual([image.config]);
  });

  it.each([".sig", ".att", ".sbom"])(
    "come from cosign's tag %s, with its bytes and its name",
    async (end) => {
      const registry = await startRegistry();
      const image = registry.addImage();
      const tag = `${image.descriptor.digest.replace(":", "-")}${end}`;
      const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, config: image.config, layers: [] }));
      const manifest = registry.putManifest("org/program", tag, bytes, mediaTypes.ociManifest);
      expect(await sourceFor().referrers(image.reference, image.descriptor.digest)).toEqual([
        { ...manifest, tag, data: bytes.toString("base64") },
      ]);
    },
  );

  it("that the API and a tag both name are one, with the tag", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const tag = `${image.descriptor.digest.replace(":", "-")}.sig`;
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, config: image.config, layers: [] }));
    const manifest = registry.putManifest("org/program", tag, bytes, mediaTypes.ociManifest);
    registry.server.on(/referrers/, page(index(manifest)));
    const found = await sourceFor().referrers(image.reference, image.descriptor.digest);
    expect(found.map(({ digest, tag: under }) => [digest, under])).toEqual([[manifest.digest, tag]]);
  });

  it("of a sha512 subject are not looked for under tags longer than tags can be", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const subject = digestOf(image.manifest, "sha512");
    await sourceFor().referrers(image.reference, subject);
    expect(registry.server.log.map(keyOf)).toEqual([
      subject,
      `sha512-${subject.slice("sha512:".length, "sha512:".length + 64)}`,
    ]);
  });

  it("are none where there is neither, nor where a page for browsers answers", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    expect(await sourceFor().referrers(image.reference, image.descriptor.digest)).toEqual([]);
    registry.server.on(/referrers/, status(200, { "content-type": "text/html" }, "<html>"));
    expect(await sourceFor().referrers(image.reference, image.descriptor.digest)).toEqual([]);
  });

  describe.each([
    ["the API", /referrers/],
    ["the fall-back tag", /sha256-[0-9a-f]{64}$/],
    ["cosign's tag for signatures", /\.sig$/],
    ["cosign's tag for attestations", /\.att$/],
    ["cosign's tag for SBOMs", /\.sbom$/],
  ])("when %s", (_, path) => {
    it.each([
      [500, "UNREACHABLE"],
      [503, "UNREACHABLE"],
      [401, "UNAUTHORIZED"],
      [403, "UNAUTHORIZED"],
    ])("answers %i, are not none but an error", async (code, expected) => {
      const registry = await startRegistry();
      const image = registry.addImage();
      registry.server.on(path, ...times(9, status(code, {}, "")));
      const source = sourceFor({ limits: { retries: 0 } });
      const failure = await failureOf(source.referrers(image.reference, image.descriptor.digest));
      expect(failure.code).toBe(expected);
    });

    it("does not answer, are not none but an error", async () => {
      const registry = await startRegistry();
      const image = registry.addImage();
      registry.server.on(path, ...times(9, () => undefined));
      const source = sourceFor({ limits: { retries: 0, headersTimeoutMs: 200 } });
      const failure = await failureOf(source.referrers(image.reference, image.descriptor.digest));
      expect(failure.code).toBe("UNREACHABLE");
    });
  });

  it("are not none when the API breaks off between pages", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const next = "</v2/org/program/referrers/x?n=2>; rel=next";
    registry.server.on(/referrers/, page(index(image.config), next), status(404, {}, ""));
    const failure = await failureOf(sourceFor().referrers(image.reference, image.descriptor.digest));
    expect(failure.code).toBe("NOT_FOUND");
  });

  it("by the thousand are read to one more than are kept", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    const many = (start: number): string =>
      index(
        ...Array.from({ length: 60 }, (_, i) => ({
          ...image.config,
          digest: digestOf(Buffer.of(start + i)),
        })),
      );
    const next = "</v2/org/program/referrers/x>; rel=next";
    registry.server.on(/referrers/, page(many(0), next), page(many(60), next), page(many(120), next));
    const found = await sourceFor().referrers(image.reference, image.descriptor.digest);
    expect([found.length, pathsOf(registry, /referrers/).length]).toEqual([120, 2]);
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
    expect(pathsOf(registry, /referrers/)).toHaveLength(1);
  });

  it("on pages without end are INVALID_IMAGE", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    registry.server.on(/referrers/, ...times(500, page(index(), "</v2/org/program/referrers/x>; rel=next")));
    const failure = await failureOf(sourceFor().referrers(image.reference, image.descriptor.digest));
    expect(failure.code).toBe("INVALID_IMAGE");
    expect(pathsOf(registry, /referrers/)).toHaveLength(100);
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
