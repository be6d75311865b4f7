import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytecodeImage } from "../support/image-builder.js";
import { ServedCache } from "./served-cache.js";

const image = bytecodeImage({});
const repository = "registry.example/org/tagged";
const tags = ["1.10", "1.9", "Latest", "edge", "latest", "v2"];

let served: ServedCache;

beforeAll(async () => {
  const names = [...tags].reverse().map((tag) => `${repository}:${tag}`);
  const others = ["registry.example/org/tagged-too:other", "a.example/x:v1", "docker.io/library/hub:v1"];
  served = await ServedCache.start(Object.fromEntries([...names, ...others].map((name) => [name, image])));
  await served.cache.pull(`${repository}@${image.root.digest}`, { pullPolicy: "Never" });
});

afterAll(() => served.close());

async function list(path: string): Promise<{ tags: string[]; next: string | undefined }> {
  const response = await served.ask(path);
  expect(response.status).toBe(200);
  const body = (await response.json()) as { tags?: string[]; repositories?: string[] };
  const next = /^<([^>]+)>; rel="next"$/.exec(response.headers.get("link") ?? "")?.[1];
  return { tags: body.tags ?? body.repositories ?? [], next };
}

describe("the tags of a repository", () => {
  it("are listed in the order of their bytes, under the name that was asked for", async () => {
    const response = await served.ask(`/v2/${repository}/tags/list`);
    expect(await response.json()).toEqual({ name: repository, tags });
    expect(response.headers.get("content-type")).toBe("application/json");
    expect(response.headers.get("link")).toBeNull();
  });

  it("are found by namespace too", async () => {
    const response = await served.ask("/v2/org/tagged/tags/list?ns=registry.example");
    expect(await response.json()).toEqual({ name: "org/tagged", tags });
  });

  it("come in pages that a client follows to the end", async () => {
    const all: string[] = [];
    for (let path: string | undefined = `/v2/${repository}/tags/list?n=2`; path !== undefined; ) {
      const page: { tags: string[]; next: string | undefined } = await list(path);
      expect(page.tags.length).toBeLessThanOrEqual(2);
      all.push(...page.tags);
      path = page.next;
    }
    expect(all).toEqual(tags);
  });

  it("keep their namespace in the link to the next page", async () => {
    const { next } = await list("/v2/org/tagged/tags/list?ns=registry.example&n=4");
    expect(next && (await list(next)).tags).toEqual(["latest", "v2"]);
  });

  it("after `last` follow it in order, though there is no such tag", async () => {
    expect((await list(`/v2/${repository}/tags/list?last=ea`)).tags).toEqual(["edge", "latest", "v2"]);
  });

  it("are none for n=0, and all for an n that is no number", async () => {
    expect((await list(`/v2/${repository}/tags/list?n=0`)).tags).toEqual([]);
    expect((await list(`/v2/${repository}/tags/list?n=many`)).tags).toEqual(tags);
  });

  it("of an unknown repository are NAME_UNKNOWN", async () => {
    const response = await served.ask("/v2/registry.example/org/tag/tags/list");
    expect(response.status).toBe(404);
    expect(await response.json()).toMatchObject({ errors: [{ code: "NAME_UNKNOWN" }] });
  });
});

describe("the catalogue", () => {
  it("names every repository once, with its host", async () => {
    expect((await list("/v2/_catalog")).tags).toEqual([
      "a.example/x",
      "docker.io/library/hub",
      "registry.example/org/tagged",
      "registry.example/org/tagged-too",
    ]);
  });

  it("comes in pages", async () => {
    const { tags: first, next } = await list("/v2/_catalog?n=3");
    expect(first).toHaveLength(3);
    expect(next && (await list(next)).tags).toEqual(["registry.example/org/tagged-too"]);
  });
});
