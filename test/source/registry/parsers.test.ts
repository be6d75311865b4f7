import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ownLocation } from "../../../src/source/locations/location.js";
import { isReservedAddress, isReservedHost } from "../../../src/source/registry/addresses.js";
import { backoffMs, parseRetryAfter } from "../../../src/source/registry/backoff.js";
import { parseChallenges, preferredChallenge } from "../../../src/source/registry/challenge.js";
import { parseContentRange, parseUnsatisfiedRange } from "../../../src/source/registry/content-range.js";
import { endpointOf } from "../../../src/source/registry/endpoint.js";
import { describeErrorBody } from "../../../src/source/registry/error-body.js";
import { redactText, redactUrl } from "../../../src/source/registry/redact.js";
import { TestClock } from "./support.js";

describe("WWW-Authenticate", () => {
  it("of one challenge", () => {
    expect(
      parseChallenges(['Bearer realm="https://a/token",service="a",scope="repository:x:pull,push"']),
    ).toEqual([
      {
        scheme: "bearer",
        parameters: { realm: "https://a/token", service: "a", scope: "repository:x:pull,push" },
      },
    ]);
  });

  it("of several challenges in one header, with and without parameters and tokens", () => {
    const header =
      'Negotiate YWJj==, Digest qop="auth, auth-int", Basic realm="say \\"x\\"" , NTLM,BEARER Realm = https://b/t';
    expect(parseChallenges([header]).map(({ scheme }) => scheme)).toEqual([
      "negotiate",
      "digest",
      "basic",
      "ntlm",
      "bearer",
    ]);
    expect(parseChallenges([header])[2]?.parameters).toEqual({ realm: 'say "x"' });
    expect(preferredChallenge(parseChallenges([header]))?.scheme).toBe("bearer");
  });

  it("of several headers", () => {
    const found = preferredChallenge(parseChallenges(['Basic realm="x"', 'Bearer realm="y"']));
    expect(found).toMatchObject({ scheme: "bearer", parameters: { realm: "y" } });
  });

  it("whose Bearer has no realm is answered with Basic", () => {
    expect(preferredChallenge(parseChallenges(["Bearer", 'Basic realm="x"']))?.scheme).toBe("basic");
  });

  it("cannot plant a property of objects", () => {
    const [challenge] = parseChallenges(['Bearer __proto__="x",realm="y"']);
    expect(({} as Record<string, unknown>)["realm"]).toBeUndefined();
    expect(challenge?.parameters["realm"]).toBe("y");
  });

  it("of any text never throws, and ends", () => {
    fc.assert(
      fc.property(fc.array(fc.string({ unit: "binary" })), (headers) =>
        Array.isArray(parseChallenges(headers)),
      ),
    );
    const punctuation = fc.string({
      unit: fc.constantFrom("a", '"', "\\", ",", "=", " ", "Bearer", "realm"),
    });
    fc.assert(fc.property(punctuation, (header) => Array.isArray(parseChallenges([header]))));
  });

  it("of quoted values comes back as it was", () => {
    const value = fc.string({ unit: "grapheme-ascii" });
    fc.assert(
      fc.property(value, value, (realm, scope) => {
        const quote = (text: string) => `"${text.replace(/["\\]/g, "\\$&")}"`;
        const [first, second] = parseChallenges([
          `Bearer realm=${quote(realm)}, scope=${quote(scope)}, Basic`,
        ]);
        expect(first?.parameters).toEqual({ realm, scope });
        expect(second?.scheme).toBe("basic");
      }),
    );
  });
});

describe("Retry-After", () => {
  const now = Date.parse("2026-11-22T12:00:00Z");
  it.each([
    ["120", 120_000],
    ["0", 0],
    ["1.5", 1_500],
    ["141.62µs", 0.14162],
    ["141.62μs", 0.14162],
    ["141.62Âµs", 0.14162],
    ["141.62\ufffds", 0.14162],
    ["250ms", 250],
    ["1m30s", 90_000],
    ["2h", 7_200_000],
    ["Sun, 22 Nov 2026 12:00:07 GMT", 7_000],
    ["Sun, 22 Nov 2026 11:00:00 GMT", 0],
    ["-5", undefined],
    ["", undefined],
    ["soon", undefined],
    ["1.2.3s", undefined],
    ["5 parsecs", undefined],
  ])("%j is %j ms", (text, expected) => {
    const found = parseRetryAfter(text, now);
    if (expected === undefined) expect(found).toBeUndefined();
    else expect(found).toBeCloseTo(expected, 3);
  });

  it("of any text is undefined or not negative", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => !((parseRetryAfter(text, now) ?? 0) < 0)));
  });

  it("that is missing leaves the wait to grow up to 3 s", () => {
    const waits = [1, 2, 3, 4, 5, 50].map((attempt) => backoffMs(attempt, new TestClock()));
    expect(waits).toEqual([150, 300, 600, 1_200, 2_250, 2_250]);
  });
});

describe("Content-Range", () => {
  it.each([
    ["bytes 0-9/10", { first: 0, last: 9, total: 10 }],
    ["BYTES 5-5/*", { first: 5, last: 5, total: undefined }],
    ["bytes 9-5/10", undefined],
    ["bytes 0-10/10", undefined],
    ["bytes 0-9/10, bytes 0-9/10", undefined],
    ["bytes -9/10", undefined],
    ["bytes 0x0-9/10", undefined],
    ["items 0-9/10", undefined],
    [undefined, undefined],
  ])("%j", (text, expected) => {
    expect(parseContentRange(text)).toEqual(expected);
  });

  it("of a 416 gives the total", () => {
    expect(parseUnsatisfiedRange("bytes */123")).toBe(123);
    expect(parseUnsatisfiedRange("bytes 0-1/123")).toBeUndefined();
  });
});

describe("redacting", () => {
  it("keeps what helps and takes out what is secret", () => {
    expect(redactUrl("https://u:p@h/v2/x?scope=repository:a:pull&X-Amz-Signature=s&account=ann#f")).toBe(
      "https://h/v2/x?scope=repository:a:pull&X-Amz-Signature=***&account=***",
    );
  });

  it("leaves no control character in any text", () => {
    fc.assert(fc.property(fc.string({ unit: "binary" }), (text) => !/\p{Cc}/u.test(redactText(text))));
  });
});

describe("error bodies", () => {
  const said = (body: string, type?: string) => describeErrorBody(Buffer.from(body), type);
  it("of registries, token services and others become a sentence", () => {
    expect(said('{"errors":[{"code":"DENIED","message":"no"},{"code":"X"}]}')).toBe("DENIED: no; X");
    expect(said('{"error":"invalid_grant","error_description":"expired"}')).toBe("invalid_grant: expired");
    expect(said('{"details":"incorrect username or password"}')).toBe("incorrect username or password");
    expect(said("plain words")).toBe("plain words");
  });

  it("for browsers, and empty ones, say nothing", () => {
    expect(said("<html>", "text/plain")).toBeUndefined();
    expect(said("x", "text/html")).toBeUndefined();
    expect(said("")).toBeUndefined();
  });

  it("of any bytes never throw and stay short", () => {
    fc.assert(
      fc.property(fc.uint8Array(), (body) => (describeErrorBody(body, undefined)?.length ?? 0) <= 301),
    );
    fc.assert(fc.property(fc.json(), (body) => (said(body)?.length ?? 0) <= 301));
  });
});

describe("addresses", () => {
  it.each([
    "localhost",
    "a.localhost",
    "127.9.9.9",
    "[::1]",
    "[::ffff:7f00:1]",
    "169.254.169.254",
    "[fe80::1]",
    "0.0.0.0",
  ])("%s is reserved", (host) => expect(isReservedHost(host)).toBe(true));

  it.each(["10.0.0.1", "192.168.1.1", "172.16.0.1", "[fd00::1]", "8.8.8.8", "localhost.example", "example"])(
    "%s is not: registries on private networks work",
    (host) => expect(isReservedHost(host)).toBe(false),
  );

  it("behind NAT64 are seen through", () => {
    expect(isReservedAddress("64:ff9b::169.254.169.254")).toBe(true);
    expect(isReservedAddress("64:ff9b::8.8.8.8")).toBe(false);
  });
});

describe("endpoints", () => {
  it.each([
    ["docker.io", [], "registry-1.docker.io", ["https:"]],
    ["quay.io", [], "quay.io", ["https:"]],
    ["quay.io", ["quay.io"], "quay.io", ["http:"]],
    ["r.example:5000", ["r.example"], "r.example:5000", ["http:"]],
    ["r.example:5000", ["r.example:5001"], "r.example:5000", ["https:"]],
    ["10.0.0.1:5000", [], "10.0.0.1:5000", ["https:"]],
    ["localhost:5000", [], "localhost:5000", ["http:", "https:"]],
    ["[::1]:5000", [], "[::1]:5000", ["http:", "https:"]],
    ["localhost:443", [], "localhost:443", ["https:"]],
  ])("%s with plain http for %j is %s by %j", (host, plainHttp, networkHost, schemes) => {
    const preferences = { plainHttp, isTlsLikely: false };
    const endpoint = endpointOf(ownLocation({ host, repository: "a" }), preferences);
    expect(endpoint).toMatchObject({ host, networkHost, schemes });
  });

  it.each([
    ["localhost:5000", ["https:", "http:"]],
    ["r.example:5000", ["https:"]],
  ])("%s with an authority of the user's own is asked by %j", (host, schemes) => {
    const endpoint = endpointOf(ownLocation({ host, repository: "a" }), { plainHttp: [], isTlsLikely: true });
    expect(endpoint.schemes).toEqual(schemes);
  });
});
