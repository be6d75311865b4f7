import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { openCache } from "../../src/index.js";
import { imageIndex } from "../support/image-builder.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";
import { imageNamed, pushWithSkopeo } from "./images.js";

const missing = requireTools("docker-registry", "skopeo");
describe.skipIf(missing)(`a docker-registry that pulls through from another${missing ?? ""}`, () => {
  const single = { repository: "single", image: imageNamed("single") };
  const amd64 = { repository: "index", image: imageNamed("amd64", "linux/amd64") };
  const arm64 = imageNamed("arm64", "linux/arm64");
  const index = imageIndex([{ image: amd64.image }, { image: arm64 }]);
  const images = { "org/single:v1": single.image, "org/index:v1": index };
  let upstream: DockerRegistry;
  let mirror: DockerRegistry;

  beforeAll(async () => {
    upstream = await DockerRegistry.start();
    const pushed = Object.entries(images).map(([name, image]) => [upstream.reference(name), image] as const);
    await pushWithSkopeo(Object.fromEntries(pushed));
    mirror = await DockerRegistry.start({ pullThrough: `http://${upstream.host}` });
  });
  afterAll(async () => {
    await mirror?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  it("is revalidated by one request", async () => {
    await using cache = await openCache({ platform: "linux/amd64" });
    await cache.pull(mirror.reference("org/index:v1"));
    const again = await cache.pull(mirror.reference("org/index:v1"), { pullPolicy: "Always" });
    expect(again).toMatchObject({ from: "cache", requests: 1, bytesFetched: 0 });
  });

  it("has NOT_FOUND for what nobody has", async () => {
    await using cache = await openCache();
    await expect(cache.pull(mirror.reference("org/none:v1"))).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("gives what only the other has, and what it kept of it when the other has gone", async () => {
    await pullAll();
    await untilKept();
    await upstream[Symbol.asyncDispose]();
    await pullAll();
  });

  async function pullAll(): Promise<void> {
    await using cache = await openCache({ platform: "linux/amd64" });
    for (const [name, image] of Object.entries(images)) {
      const reference = mirror.reference(name);
      expect(await cache.pull(reference)).toMatchObject({ from: "registry", rootDigest: image.root.digest });
      expect(cache.bytecode(reference).programs).toHaveLength(1);
    }
  }

  /** docker-registry writes a blob to its storage after it has passed it on, and says nothing when it is through. */
  async function untilKept(): Promise<void> {
    const repositories = join(mirror.program.directory, "storage/docker/registry/v2/repositories/org");
    const links = [single, amd64].map(({ image, repository }) =>
      [...image.blobs.keys()].map((digest) =>
        join(repositories, repository, "_layers", digest.replace(":", "/"), "link"),
      ),
    );
    await vi.waitFor(() => expect(links.flat().filter((link) => !existsSync(link))).toEqual([]), 10_000);
  }
});
