import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { digestOf } from "../../../src/core/digest.js";
import { hangUp, type Responder, status, times } from "./fault-server.js";
import { failureOf, fetchBytes, sourceFor, startRegistry, startServer, TestClock } from "./support.js";
import { serveContent, type TestImage, type TestRegistry } from "./test-registry.js";

const type = "application/octet-stream";

async function registryWithLayer(bytes: number): Promise<{ registry: TestRegistry; image: TestImage }> {
  const registry = await startRegistry();
  return { registry, image: registry.addImage("org/program", "v1", randomBytes(bytes)) };
}

/** Answers properly, but breaks the connection once `count` bytes of the body are on their way. */
function cutAfter(bytes: Buffer, count: number, headers: Record<string, string> = {}): Responder {
  return (request, response) => {
    const first = Number(/^bytes=(\d+)-$/.exec(request.headers.range ?? "")?.[1] ?? 0);
    const rest = bytes.subarray(first);
    response.writeHead(first > 0 ? 206 : 200, {
      "content-length": rest.length,
      "content-type": type,
      ...(first > 0 ? { "content-range": `bytes ${first}-${bytes.length - 1}/${bytes.length}` } : {}),
      ...headers,
    });
    // end() of the socket, not destroy(): a reset would throw away what is still on its way.
    response.write(rest.subarray(0, count), () => response.socket?.end());
  };
}

describe("a body that breaks off", () => {
  it("at every 64 KiB of 2 MiB comes whole, each byte sent at most twice", async () => {
    const { registry, image } = await registryWithLayer(2 * 1024 * 1024);
    registry.server.on(/blobs/, ...times(100, cutAfter(image.layerBytes, 64 * 1024)));
    const bytes = await fetchBytes(sourceFor(), image.reference, image.layer);
    expect(digestOf(bytes)).toBe(image.layer.digest);
    expect(registry.server.seen.length).toBeGreaterThanOrEqual(32);
    expect(registry.server.seen.length).toBeLessThanOrEqual(64);
    const starts = registry.server.seen.map(({ headers }) => Number(/\d+/.exec(headers.range ?? "0")?.[0]));
    expect(starts).toEqual([...starts].sort((a, b) => a - b));
  });

  it("is asked for with Range, and with If-Match when the tag is strong", async () => {
    const { registry, image } = await registryWithLayer(100_000);
    registry.server.on(/blobs/, cutAfter(image.layerBytes, 40_000, { etag: '"strong"' }));
    expect(digestOf(await fetchBytes(sourceFor(), image.reference, image.layer))).toBe(image.layer.digest);
    expect(registry.server.seen[1]?.headers).toMatchObject({ range: "bytes=40000-", "if-match": '"strong"' });
  });

  it("is asked for without If-Match when the tag is weak", async () => {
    const { registry, image } = await registryWithLayer(100_000);
    registry.server.on(/blobs/, cutAfter(image.layerBytes, 40_000, { etag: 'W/"weak"' }));
    expect(digestOf(await fetchBytes(sourceFor(), image.reference, image.layer))).toBe(image.layer.digest);
    expect(registry.server.seen[1]?.headers["if-match"]).toBeUndefined();
  });

  it("is resumed from the registry, which gives a fresh redirect", async () => {
    const { registry, image } = await registryWithLayer(100_000);
    const store = await startServer();
    store.fallback = (request, response) =>
      request.path === "/signed?n=1"
        ? cutAfter(image.layerBytes, 40_000)(request, response)
        : serveContent(request, response, { mediaType: type, bytes: image.layerBytes });
    let n = 0;
    registry.server.on(
      /blobs/,
      ...times(5, (_, response) =>
        response.writeHead(307, { location: `${store.origin}/signed?n=${++n}` }).end(),
      ),
    );
    expect(digestOf(await fetchBytes(sourceFor(), image.reference, image.layer))).toBe(image.layer.digest);
    expect(store.log).toEqual(["GET /signed?n=1", "GET /signed?n=2"]);
    expect(store.seen[1]?.headers.range).toBe("bytes=40000-");
  });

  const answers: Record<string, (bytes: Buffer) => Responder[]> = {
    "200 and everything again": (bytes) => [(_, r) => r.writeHead(200).end(bytes)],
    "206 from another place": (bytes) => [
      (_, r) =>
        r.writeHead(206, { "content-range": `bytes 0-${bytes.length - 1}/${bytes.length}` }).end(bytes),
    ],
    "206 of another length": (bytes) => [
      (_, r) =>
        r.writeHead(206, { "content-range": `bytes 40000-49999/50000` }).end(bytes.subarray(40_000, 50_000)),
    ],
    "206 without Content-Range": (bytes) => [(_, r) => r.writeHead(206).end(bytes.subarray(40_000))],
    "206 with a garbled Content-Range": () => [status(206, { "content-range": "bytes what-ever/*" }, "x")],
    "206 in several parts": () => [
      status(206, { "content-type": "multipart/byteranges; boundary=x" }, "--x--"),
    ],
    "206 of unknown total": (bytes) => [
      (_, r) =>
        r
          .writeHead(206, { "content-range": `bytes 40000-${bytes.length - 1}/*` })
          .end(bytes.subarray(40_000)),
    ],
    "206 piece by piece": (bytes) => [
      (_, r) =>
        r.writeHead(206, { "content-range": "bytes 40000-59999/100000" }).end(bytes.subarray(40_000, 60_000)),
      (_, r) => r.writeHead(206, { "content-range": "bytes 60000-99999/100000" }).end(bytes.subarray(60_000)),
    ],
    "412 since its tag has changed": () => [status(412)],
    "416 though something is missing": () => [status(416, { "content-range": "bytes */100000" })],
    "416 without a total": () => [status(416)],
    "503 first": () => [status(503)],
    "another break": () => [hangUp],
  };
  for (const [name, answer] of Object.entries(answers)) {
    it(`comes whole when the registry answers ${name}`, async () => {
      const { registry, image } = await registryWithLayer(100_000);
      registry.server.on(/blobs/, cutAfter(image.layerBytes, 40_000), ...answer(image.layerBytes));
      expect(digestOf(await fetchBytes(sourceFor(), image.reference, image.layer))).toBe(image.layer.digest);
    });
  }

  it("that is complete by the registry's word ends there, for the reader to judge", async () => {
    const { registry, image } = await registryWithLayer(100_000);
    registry.server.on(
      /blobs/,
      cutAfter(image.layerBytes, 40_000),
      status(416, { "content-range": "bytes */40000" }),
    );
    expect(await fetchBytes(sourceFor(), image.reference, image.layer)).toHaveLength(40_000);
  });

  it("without a length, and cut, is resumed too", async () => {
    const { registry, image } = await registryWithLayer(100_000);
    registry.server.on(/blobs/, (_, response) => {
      response.useChunkedEncodingByDefault = false;
      response.shouldKeepAlive = false;
      response.writeHead(200, { connection: "close" });
      response.end(image.layerBytes.subarray(0, 40_000));
    });
    expect(digestOf(await fetchBytes(sourceFor(), image.reference, image.layer))).toBe(image.layer.digest);
  });

  it("shorter than promised, and properly ended, ends short: it is no accident", async () => {
    const { registry, image } = await registryWithLayer(100_000);
    registry.server.on(/blobs/, (_, response) =>
      response.writeHead(200, { "content-length": 5 }).end("short"),
    );
    expect((await fetchBytes(sourceFor(), image.reference, image.layer)).toString()).toBe("short");
    expect(registry.server.seen).toHaveLength(1);
  });

  it("again and again without progress is UNREACHABLE", async () => {
    const { registry, image } = await registryWithLayer(100_000);
    registry.server.on(/blobs/, ...times(100, cutAfter(image.layerBytes, 10)));
    const clock = new TestClock();
    const failure = await failureOf(fetchBytes(sourceFor({ clock }), image.reference, image.layer));
    expect(failure.code).toBe("UNREACHABLE");
    expect(failure.reference).toBe(image.reference.toString());
    expect(registry.server.seen).toHaveLength(6);
  });

  it("where ranges are ignored ends, though never further than the same place, in UNREACHABLE", async () => {
    const { registry, image } = await registryWithLayer(100_000);
    const ignoring: Responder = (request, response) =>
      cutAfter(image.layerBytes, 40_000)({ ...request, headers: {} }, response);
    registry.server.on(/blobs/, ...times(100, ignoring));
    const failure = await failureOf(fetchBytes(sourceFor(), image.reference, image.layer));
    expect(failure.code).toBe("UNREACHABLE");
    expect(registry.server.seen.length).toBeLessThanOrEqual(7);
  });

  it("and is gone when asked for again is NOT_FOUND", async () => {
    const { registry, image } = await registryWithLayer(100_000);
    registry.server.on(/blobs/, cutAfter(image.layerBytes, 40_000), status(404));
    const failure = await failureOf(fetchBytes(sourceFor(), image.reference, image.layer));
    expect(failure.code).toBe("NOT_FOUND");
  });

  it("by silence is resumed after the longest silence allowed", async () => {
    const { registry, image } = await registryWithLayer(100_000);
    registry.server.on(/blobs/, (_, response) => {
      response.writeHead(200, { "content-length": 100_000 });
      response.write(image.layerBytes.subarray(0, 40_000));
    });
    const source = sourceFor({ limits: { bodyTimeoutMs: 150 } });
    expect(digestOf(await fetchBytes(source, image.reference, image.layer))).toBe(image.layer.digest);
  });
});
