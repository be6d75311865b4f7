import { gzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { parseReference } from "../../../src/core/reference.js";
import { mediaTypes } from "../../../src/image/media-types.js";
import { systemClock } from "../../../src/source/registry/clock.js";
import { FaultServer, hangUp, type Responder, silence, status, times } from "./fault-server.js";
import {
  failureOf,
  fetchBytes,
  pullImage,
  recorder,
  sourceFor,
  startRegistry,
  startServer,
  TestClock,
} from "./support.js";

const quick = { connectTimeoutMs: 200, headersTimeoutMs: 200, bodyTimeoutMs: 200 };

/** Sends the head and half of the body, then the rest of the fault. */
function halfBody(bytes: Buffer, after: Responder): Responder {
  return (request, response) => {
    response.writeHead(200, { "content-type": mediaTypes.ociManifest, "content-length": bytes.length });
    response.write(bytes.subarray(0, bytes.length / 2), () => after(request, response));
  };
}

describe("what passes is tried again, and the image comes", () => {
  const passing: Record<string, (manifest: Buffer) => Responder> = {
    "status 408": () => status(408),
    "status 425": () => status(425),
    "status 429 without Retry-After": () => status(429),
    "status 429 with Retry-After in seconds": () => status(429, { "retry-after": "2" }),
    "status 429 with GHCR's microseconds": () => status(429, { "retry-after": "141.62µs" }),
    "status 429 with a date": () =>
      status(429, { "retry-after": new Date(Date.now() + 5_000).toUTCString() }),
    "status 429 with a date in the past": () =>
      status(429, { "retry-after": "Thu, 01 Jan 1970 00:00:00 GMT" }),
    "status 429 with nonsense": () => status(429, { "retry-after": "soon; very soon" }),
    "status 429 with a negative wait": () => status(429, { "retry-after": "-5" }),
    "status 499": () => status(499),
    "status 500": () => status(500),
    "status 502 with a page for a browser": () =>
      status(502, { "content-type": "text/html" }, "<html>oops</html>"),
    "status 503 with Retry-After": () => status(503, { "retry-after": "1" }),
    "status 504": () => status(504),
    "status 522": () => status(522),
    "a connection that breaks before the answer": () => hangUp,
    "an answer that never comes": () => silence,
    "an error body that never ends": () => (_, response) => {
      response.writeHead(500);
      response.write("x".repeat(20_000));
    },
    "an error body that breaks off": () => (_, response) => {
      response.writeHead(500, { "content-length": 1_000 });
      response.write("half", () => response.socket?.destroy());
    },
    "a manifest that breaks off": (manifest) => halfBody(manifest, hangUp),
    "a manifest that stops in the middle": (manifest) => halfBody(manifest, silence),
    "a chunked manifest that breaks off": (manifest) => (_, response) => {
      response.writeHead(200, { "content-type": mediaTypes.ociManifest });
      response.write(manifest.subarray(0, 50), () => response.socket?.destroy());
    },
  };
  for (const [name, fault] of Object.entries(passing)) {
    it(name, async () => {
      const registry = await startRegistry();
      const image = registry.addImage();
      registry.server.on(/manifests/, fault(image.manifest));
      const { events, onEvent } = recorder();
      const source = sourceFor({ limits: quick, plainHttp: [registry.server.host] });
      expect(await pullImage(source, image, { onEvent })).toEqual(image.layerBytes);
      expect(registry.server.seen).toHaveLength(4);
      expect(events.filter(({ event }) => event === "retry")).toHaveLength(1);
    });
  }

  it("a token service that breaks and then is too busy", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const image = registry.addImage();
    registry.server.on(/^\/token/, hangUp, status(503), status(429, { "retry-after": "1" }));
    await pullImage(sourceFor(), image);
    expect(registry.tokenLog).toHaveLength(4);
  });
});

describe("what does not pass ends in the right error", () => {
  const lasting: [string, Responder, string, RegExp?][] = [
    ["status 404", status(404), "NOT_FOUND", /Check|has no/],
    ["status 404 with a page", status(404, { "content-type": "text/html" }, "<html>"), "NOT_FOUND"],
    ["status 400", status(400), "UNREACHABLE"],
    ["status 401 without a challenge", status(401), "UNAUTHORIZED"],
    [
      "status 401 with a garbled challenge",
      status(401, { "www-authenticate": '=,"Bearer realm' }),
      "UNAUTHORIZED",
    ],
    [
      "status 401 with schemes unknown here",
      status(401, { "www-authenticate": "Negotiate, AWS4 x=y" }),
      "UNAUTHORIZED",
    ],
    ["status 403", status(403), "UNAUTHORIZED"],
    ["status 418", status(418), "UNREACHABLE"],
    ["status 501", status(501), "UNREACHABLE"],
    ["status 204", status(204), "UNREACHABLE"],
    ["status 206 without having been asked for a part", status(206, {}, "x"), "UNREACHABLE"],
    ["status 304 without having been asked for changes", status(304), "UNREACHABLE"],
    ["a redirect without a place", status(307), "UNREACHABLE", /without saying where/],
    ["a redirect to nonsense", status(307, { location: "http://[" }), "UNREACHABLE", /without saying where/],
    ["a redirect to a file", status(307, { location: "file:///etc/passwd" }), "UNREACHABLE", /file:/],
    [
      "a redirect to itself",
      (_, r) => r.writeHead(307, { location: "/v2/loop" }).end(),
      "UNREACHABLE",
      /more than 10 times/,
    ],
    [
      "a compressed answer",
      status(200, { "content-encoding": "gzip" }, gzipSync("{}").toString("latin1")),
      "INVALID_IMAGE",
    ],
    ["an answer that is not HTTP", (_, r) => r.socket?.end("SSH-2.0-OpenSSH_9.2\r\n"), "UNREACHABLE"],
    ["headers without end", status(200, { "x-long": "x".repeat(60_000) }), "UNREACHABLE"],
    ["a quota used up", status(429, { "ratelimit-remaining": "0;w=21600" }), "UNREACHABLE", /log in/],
    ["a wait of an hour", status(429, { "retry-after": "3600" }), "UNREACHABLE"],
    ["a wait of 1e300 s", status(503, { "retry-after": "9".repeat(300) }), "UNREACHABLE"],
  ];
  for (const [name, fault, code, says] of lasting) {
    it(`${name}: ${code}`, async () => {
      const registry = await startRegistry();
      const { reference } = registry.addImage();
      registry.server.on(/v2/, ...times(20, fault));
      const clock = new TestClock();
      const source = sourceFor({ limits: quick, clock, plainHttp: [registry.server.host] });
      const failure = await failureOf(source.resolve(reference));
      expect(failure.code).toBe(code);
      expect(failure.reference).toBe(reference.toString());
      expect(clock.sleeps).toEqual([]);
      if (says !== undefined) expect(`${failure.message} ${failure.hint}`).toMatch(says);
    });
  }

  it("what never gets better is UNREACHABLE after the first and five more attempts", async () => {
    const registry = await startRegistry();
    const { reference } = registry.addImage();
    registry.server.on(
      /v2/,
      ...times(20, status(503, {}, '{"errors":[{"code":"UNAVAILABLE","message":"in repair"}]}')),
    );
    const clock = new TestClock();
    const failure = await failureOf(sourceFor({ clock }).resolve(reference));
    expect(failure).toMatchObject({ code: "UNREACHABLE" });
    expect(failure.message).toContain("in repair");
    expect(registry.server.seen).toHaveLength(6);
    expect(clock.sleeps).toHaveLength(5);
  });

  it("nobody listening is UNREACHABLE", async () => {
    const server = await FaultServer.start();
    const { host } = server;
    await server.close();
    const failure = await failureOf(sourceFor().resolve(parseReference(`${host}/a/b:c`)));
    expect(failure.code).toBe("UNREACHABLE");
    expect(failure.message).toContain("nothing listens there");
  });

  it("a host that does not exist is UNREACHABLE at once", async () => {
    const clock = new TestClock();
    const failure = await failureOf(
      sourceFor({
        clock,
        lookup: (name, _, done) => done(Object.assign(new Error(name), { code: "ENOTFOUND" }), ""),
      }).resolve(parseReference("registry.invalid/a/b:c")),
    );
    expect(failure).toMatchObject({ code: "UNREACHABLE" });
    expect(clock.sleeps).toEqual([]);
  });

  it("control characters of an error body reach no terminal, nor does an echoed token", async () => {
    const registry = await startRegistry();
    const { reference } = registry.addImage();
    const body = JSON.stringify({
      errors: [{ code: "DENIED", message: "\u001b[2Jno \u009b Bearer abcdefghijkl http://x/y?sig=abc" }],
    });
    registry.server.on(/v2/, status(403, {}, body));
    const { message } = await failureOf(sourceFor().resolve(reference));
    expect(message).not.toMatch(/\p{Cc}/u);
    expect(message).not.toContain("abcdefghijkl");
    expect(message).not.toContain("sig=abc");
  });
});

describe("waiting", () => {
  it("is never shorter than the registry asks", async () => {
    const registry = await startRegistry();
    const { reference } = registry.addImage();
    registry.server.on(/v2/, status(429, { "retry-after": "7" }));
    const clock = new TestClock();
    await sourceFor({ clock }).resolve(reference);
    expect(clock.sleeps[0]).toBeGreaterThanOrEqual(7_000);
  });

  it("holds back other requests to the host that asked for it", async () => {
    const registry = await startRegistry();
    const one = registry.addImage("org/one");
    const two = registry.addImage("org/two");
    registry.server.on(/one/, status(429, { "retry-after": "1" }));
    const source = sourceFor({ clock: { ...systemLike, random: () => 0 } });
    const started = Date.now();
    const first = source.resolve(one.reference);
    await new Promise((resolve) => setTimeout(resolve, 100));
    await source.resolve(two.reference);
    expect(Date.now() - started).toBeGreaterThan(900);
    await first;
  });

  it("ends with INTERRUPTED as soon as the signal says so", async () => {
    const registry = await startRegistry();
    const { reference } = registry.addImage();
    registry.server.on(/v2/, status(429, { "retry-after": "50" }));
    const source = sourceFor({ clock: systemLike });
    const started = Date.now();
    const failure = await failureOf(source.resolve(reference, { signal: AbortSignal.timeout(100) }));
    expect(failure.code).toBe("INTERRUPTED");
    expect(Date.now() - started).toBeLessThan(1_000);
  });
});

describe("the signal", () => {
  it("ends a request that gets no answer, and its connection", async () => {
    const server = await startServer();
    server.fallback = silence;
    const source = sourceFor({ plainHttp: [server.host] });
    const work = source.resolve(parseReference(`${server.host}/a/b:c`), { signal: AbortSignal.timeout(50) });
    expect((await failureOf(work)).code).toBe("INTERRUPTED");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(server.connections).toBe(0);
  });

  it("ends a body in the middle", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    registry.server.on(/blobs/, halfBody(image.layerBytes, silence));
    const abort = new AbortController();
    const stream = await sourceFor().fetch(image.reference, image.layer, { signal: abort.signal });
    const reading = failureOf(
      (async () => {
        for await (const _ of stream) abort.abort();
      })(),
    );
    expect((await reading).code).toBe("INTERRUPTED");
  });

  it("already aborted sends nothing", async () => {
    const registry = await startRegistry();
    const { reference } = registry.addImage();
    const failure = await failureOf(sourceFor().resolve(reference, { signal: AbortSignal.abort() }));
    expect(failure.code).toBe("INTERRUPTED");
    expect(registry.server.seen).toHaveLength(0);
  });

  it("of one caller does not end the token that another waits for", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const image = registry.addImage();
    let release = () => {};
    registry.server.on(/^\/token/, async () => {
      await new Promise<void>((resolve) => {
        release = resolve;
      });
      return "pass";
    });
    const source = sourceFor();
    const abort = new AbortController();
    const first = failureOf(source.resolve(image.reference, { signal: abort.signal }));
    await until(() => registry.tokenLog.length === 1);
    const second = source.resolve(image.reference);
    await new Promise((resolve) => setTimeout(resolve, 20));
    abort.abort();
    expect((await first).code).toBe("INTERRUPTED");
    release();
    await second;
    expect(registry.tokenLog).toHaveLength(1);
  });

  it("closing the source ends what is under way", async () => {
    const server = await startServer();
    server.fallback = silence;
    const source = sourceFor({ plainHttp: [server.host] });
    const work = failureOf(source.resolve(parseReference(`${server.host}/a/b:c`)));
    await until(() => server.seen.length === 1);
    await source.close();
    expect((await work).code).toBe("INTERRUPTED");
  });
});

describe("a crowd", () => {
  it("of 60 images gets through a registry that answers 429 to every third request", async () => {
    const registry = await startRegistry();
    let count = 0;
    registry.server.on(
      /v2/,
      ...times(2_000, (_, response) => {
        count += 1;
        return count % 3 === 0 ? response.writeHead(429, { "retry-after": "1" }).end() : "pass";
      }),
    );
    const images = Array.from({ length: 60 }, (_, n) => registry.addImage(`org/p${n}`));
    const source = sourceFor();
    for (let at = 0; at < images.length; at += 6) {
      await Promise.all(images.slice(at, at + 6).map((image) => pullImage(source, image)));
    }
    expect(registry.server.seen.length).toBeLessThan(60 * 3 * 2);
  });
});

describe("warnings of a registry", () => {
  it("are shown once, without control characters, and only in the specified form", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    registry.extraHeaders = { warning: '299 - "this repository is \\"deprecated\\""' };
    const { events, onEvent } = recorder();
    await pullImage(sourceFor(), image, { onEvent });
    registry.extraHeaders = { warning: '199 - "not ours"' };
    await pullImage(sourceFor(), image, { onEvent });
    const warnings = events.filter((event) => event.event === "warning");
    expect(warnings.map(({ message }) => message)).toEqual([
      `${registry.server.host} says: this repository is "deprecated"`,
    ]);
  });
});

describe("request events", () => {
  it("tell method, status, bytes and time of every request, in order, with secrets taken out", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const image = registry.addImage();
    registry.server.on(/blobs/, status(307, { location: "/elsewhere?X-Amz-Signature=abc&scope=ok" }));
    registry.server.on(/elsewhere/, (_, response) => response.end(image.layerBytes));
    const { events, onEvent } = recorder();
    const source = sourceFor();
    await source.resolve(image.reference, { onEvent });
    await fetchBytes(source, image.reference, image.layer, { onEvent });
    const requests = events.filter((event) => event.event === "request");
    expect(requests.map(({ status: code }) => code)).toEqual([401, 200, 200, 307, 200]);
    expect(requests.map(({ bytes }) => bytes).slice(2)).toEqual([
      image.manifest.length,
      0,
      image.layerBytes.length,
    ]);
    expect(requests.at(-1)?.url).toBe(`${registry.server.origin}/elsewhere?X-Amz-Signature=***&scope=ok`);
    expect(JSON.stringify(events)).not.toContain("abc");
  });
});

const systemLike = {
  now: () => Date.now(),
  random: () => 0.5,
  sleep: (ms: number, signal: AbortSignal | undefined) => systemClock.sleep(ms, signal),
};

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 5));
}
