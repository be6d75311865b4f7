import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { attached, keepStatements, tagged } from "../bundle/statements.js";
import { bytecodeImage } from "../support/image-builder.js";
import { ServedCache } from "./served-cache.js";

// What the distribution specification's conformance programme asks of a registry that is only read: ping, pulling by
// tag and digest with GET and HEAD, missing and malformed names, tags, referrers. Ranges are in ranges.test.ts.

const image = bytecodeImage({});
const { root, config, layers } = image;
const repository = "registry.example/org/conforming";
const path = `/v2/${repository}`;
const absent = `sha256:${"0".repeat(64)}`;
const indexType = "application/vnd.oci.image.index.v1+json";
const bundle = attached("application/vnd.dev.sigstore.bundle.v0.3+json", root, "a bundle");
const sbom = attached("application/spdx+json", root, "an SBOM");
const legacy = tagged("application/vnd.dev.cosign.simplesigning.v1+json", root, "a signature");

let served: ServedCache;

beforeAll(async () => {
  served = await ServedCache.start({ [`${repository}:v1`]: image, [`${repository}:v2`]: image });
  keepStatements(served.directory.join("cache"), [bundle, sbom, legacy]);
});

afterAll(() => served.close());

describe("pulling", () => {
  it("begins with a ping", async () => {
    expect((await served.ask("/v2/")).status).toBe(200);
  });

  it.each(["v1", root.digest])("a manifest by %s answers GET and HEAD alike", async (what) => {
    const [get, head] = await Promise.all([
      served.ask(`${path}/manifests/${what}`),
      served.ask(`${path}/manifests/${what}`, { method: "HEAD" }),
    ]);
    expect([get.status, head.status]).toEqual([200, 200]);
    expect(get.headers.get("docker-content-digest")).toBe(root.digest);
    expect(head.headers.get("docker-content-digest")).toBe(root.digest);
    expect(head.headers.get("content-length")).toBe(String(root.size));
    expect(await head.text()).toBe("");
    expect(Buffer.from(await get.arrayBuffer()).equals(root.bytes)).toBe(true);
  });

  it.each([config, ...layers])("a blob answers GET and HEAD alike: $mediaType", async ({ digest, bytes }) => {
    const head = await served.ask(`${path}/blobs/${digest}`, { method: "HEAD" });
    expect(head.status).toBe(200);
    expect(head.headers.get("content-length")).toBe(String(bytes.length));
    const get = await served.ask(`${path}/blobs/${digest}`);
    expect(Buffer.from(await get.arrayBuffer()).equals(bytes)).toBe(true);
  });

  it.each([
    [`manifests/${absent}`, [404]],
    ["manifests/nothing", [404]],
    [`blobs/${absent}`, [404]],
    ["manifests/sha256:totallywrong", [400, 404]],
    ["blobs/sha256:totallywrong", [400, 404]],
  ])("%s is refused", async (what, statuses) => {
    for (const method of ["GET", "HEAD"])
      expect(statuses).toContain((await served.ask(`${path}/${what}`, { method })).status);
  });
});

describe("discovery of content", () => {
  it("lists tags in order, in pages, and after a tag", async () => {
    const list = async (query: string): Promise<unknown> =>
      (await served.ask(`${path}/tags/list${query}`)).json();
    expect(await list("")).toEqual({ name: repository, tags: ["v1", "v2"] });
    expect(await list("?n=1")).toEqual({ name: repository, tags: ["v1"] });
    expect(await list("?last=v1")).toEqual({ name: repository, tags: ["v2"] });
  });

  async function referrers(
    what: string,
    query = "",
  ): Promise<{ response: Response; manifests: { digest: string }[] }> {
    const response = await served.ask(`${path}/referrers/${what}${query}`);
    const { manifests } = (await response.json()) as { manifests: { digest: string }[] };
    return { response, manifests };
  }

  it("of referrers to something unknown is an empty index", async () => {
    const { response, manifests } = await referrers(absent);
    expect(response.status).toBe(200);
    expect(response.headers.get("content-type")).toBe(indexType);
    expect(manifests).toEqual([]);
  });

  it("of referrers lists what names the subject", async () => {
    const { manifests } = await referrers(root.digest);
    expect(manifests.map(({ digest }) => digest).sort()).toEqual(
      [bundle.manifest.digest, sbom.manifest.digest].sort(),
    );
    expect(manifests).toContainEqual({
      mediaType: sbom.manifest.mediaType,
      digest: sbom.manifest.digest,
      size: sbom.manifest.size,
      artifactType: "application/spdx+json",
    });
  });

  it("of referrers is filtered by type, and says so", async () => {
    const { response, manifests } = await referrers(root.digest, "?artifactType=application%2Fspdx%2Bjson");
    expect(response.headers.get("oci-filters-applied")).toBe("artifactType");
    expect(manifests.map(({ digest }) => digest)).toEqual([sbom.manifest.digest]);
  });

  it("of referrers to what is no digest is 400", async () => {
    expect((await served.ask(`${path}/referrers/v1`)).status).toBe(400);
  });

  it("of a referrer's own manifest and blobs works as for any other", async () => {
    expect((await served.ask(`${path}/manifests/${bundle.manifest.digest}`)).status).toBe(200);
    for (const { blob } of bundle.blobs)
      expect((await served.ask(`${path}/blobs/${blob.digest}`)).status).toBe(200);
  });

  it("of cosign's tag finds what only that ties to the image", async () => {
    const response = await served.ask(`${path}/manifests/${root.digest.replace(":", "-")}.sig`);
    expect(response.headers.get("docker-content-digest")).toBe(legacy.manifest.digest);
    expect((await served.ask(`${path}/manifests/${root.digest.replace(":", "-")}.att`)).status).toBe(404);
  });

  it("by another cache that keeps referrers gets all three", async () => {
    const { openCache } = await import("../../src/open-cache.js");
    await using other = await openCache({ platform: "linux/amd64" });
    await other.pull(`${served.server.address}/${repository}:v1`, { referrers: true });
    const { referrers: kept } = other.inspect(`${served.server.address}/${repository}:v1`);
    expect(kept.map(({ digest }) => digest).sort()).toEqual(
      [bundle, sbom, legacy].map(({ manifest }) => manifest.digest).sort(),
    );
  });
});
