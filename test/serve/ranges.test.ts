import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytecodeImage } from "../support/image-builder.js";
import { ServedCache } from "./served-cache.js";

const image = bytecodeImage({});
const layer = image.layers[0]?.bytes ?? Buffer.alloc(0);
const path = `/v2/registry.example/org/ranged/blobs/${image.layers[0]?.digest}`;
const size = layer.length;

let served: ServedCache;

beforeAll(async () => {
  served = await ServedCache.start({ "registry.example/org/ranged:v1": image });
});

afterAll(() => served.close());

async function ask(headers: Record<string, string>): Promise<{ response: Response; body: Buffer }> {
  const response = await served.ask(path, { headers });
  return { response, body: Buffer.from(await response.arrayBuffer()) };
}

describe("a part of a blob", () => {
  it.each([
    ["bytes=10-19", 10, 20],
    ["bytes=0-0", 0, 1],
    ["bytes=30-", 30, size],
    ["bytes=-7", size - 7, size],
    [`bytes=-${size * 2}`, 0, size],
    [`bytes=20-${size * 2}`, 20, size],
  ])("%s is 206 with just that", async (range, first, end) => {
    const { response, body } = await ask({ range });
    expect(response.status).toBe(206);
    expect(response.headers.get("content-range")).toBe(`bytes ${first}-${end - 1}/${size}`);
    expect(response.headers.get("content-length")).toBe(String(end - first));
    expect(body.equals(layer.subarray(first, end))).toBe(true);
  });

  it.each([`bytes=${size}-`, `bytes=${size * 2}-${size * 3}`, "bytes=20-10", "bytes=-0"])(
    "%s lies outside: 416 with the size, and no body",
    async (range) => {
      const { response, body } = await ask({ range });
      expect(response.status).toBe(416);
      expect(response.headers.get("content-range")).toBe(`bytes */${size}`);
      expect(body).toHaveLength(0);
    },
  );

  it.each(["bytes=0-1,5-6", "lines=1-2", "bytes=", "bytes=-", "bytes=a-b", "nonsense"])(
    "%s cannot be had: the whole is sent",
    async (range) => {
      const { response, body } = await ask({ range });
      expect(response.status).toBe(200);
      expect(body.equals(layer)).toBe(true);
    },
  );

  it("of other content than If-Range names is not sent: the whole is", async () => {
    const other = await ask({ range: "bytes=10-19", "if-range": '"sha256:other"' });
    expect(other.response.status).toBe(200);
    const same = await ask({ range: "bytes=10-19", "if-range": `"${image.layers[0]?.digest}"` });
    expect(same.response.status).toBe(206);
  });

  it("can be asked for with HEAD, and no byte comes", async () => {
    const response = await served.ask(path, { method: "HEAD", headers: { range: "bytes=10-19" } });
    expect(response.status).toBe(206);
    expect(response.headers.get("content-length")).toBe("10");
  });
});

describe("a whole blob", () => {
  it("says that parts can be asked for", async () => {
    expect((await ask({})).response.headers.get("accept-ranges")).toBe("bytes");
  });

  it("that the client has already is 304", async () => {
    const { response } = await ask({ "if-none-match": `"${image.layers[0]?.digest}"` });
    expect(response.status).toBe(304);
  });

  it("is read once for many clients at the same time", async () => {
    const bodies = await Promise.all(Array.from({ length: 100 }, () => ask({})));
    expect(bodies.every(({ body }) => body.equals(layer))).toBe(true);
  });
});
