import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/index.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";
import { imageNamed, indexNamed, pushWithSkopeo } from "./images.js";

const missing = requireTools("docker-registry", "skopeo");
describe.skipIf(missing)(`a docker-registry that pulls through from another${missing ?? ""}`, () => {
  const images = { "org/single:v1": imageNamed("single"), "org/index:v1": indexNamed("index") };
  const names = Object.keys(images) as (keyof typeof images)[];
  let upstream: DockerRegistry;
  let mirror: DockerRegistry;

  beforeAll(async () => {
    upstream = await DockerRegistry.start();
    const pushed = names.map((name) => [upstream.reference(name), images[name]] as const);
    await pushWithSkopeo(Object.fromEntries(pushed));
    mirror = await DockerRegistry.start({ pullThrough: `http://${upstream.host}` });
  });
  afterAll(async () => {
    await mirror?.[Symbol.asyncDispose]();
    await upstream?.[Symbol.asyncDispose]();
  });

  it("gives what only the other has, and what it kept of it when the other has gone", async () => {
    for (const requests of ["the first time", "without upstream"]) {
      await using cache = await openCache({ platform: "linux/amd64" });
      for (const name of names) {
        const image = await cache.pull(mirror.reference(name));
        expect(image, requests).toMatchObject({ from: "registry", rootDigest: images[name].root.digest });
        expect(cache.bytecode(mirror.reference(name)).programs, requests).toHaveLength(1);
      }
      await upstream[Symbol.asyncDispose]();
    }
  });

  it("is revalidated by one request, though nobody is behind it any more", async () => {
    await using cache = await openCache({ platform: "linux/amd64" });
    await cache.pull(mirror.reference("org/index:v1"));
    const again = await cache.pull(mirror.reference("org/index:v1"), { pullPolicy: "Always" });
    expect(again).toMatchObject({ from: "cache", requests: 1, bytesFetched: 0 });
  });

  it("has NOT_FOUND for what nobody has", async () => {
    await using cache = await openCache();
    await expect(cache.pull(mirror.reference("org/none:v1"))).rejects.toMatchObject({ code: "NOT_FOUND" });
  });
});
