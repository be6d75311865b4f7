import { describe, expect, it } from "vitest";
import { challengeMemory } from "../../../src/source/registry/challenge-memory.js";
import { status, times } from "./fault-server.js";
import {
  credentials,
  failureOf,
  fetchBytes,
  login,
  noCredentials,
  pullImage,
  sourceFor,
  startRegistry,
  startServer,
  TestClock,
} from "./support.js";
import { basic } from "./test-registry.js";

describe("a Bearer registry", () => {
  it("costs one 401 and one token for a cold image", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const image = registry.addImage();
    let counted = 0;
    await pullImage(sourceFor(), image, { onRequest: () => counted++ });
    expect(registry.rejected).toBe(1);
    expect(registry.tokenLog).toHaveLength(1);
    expect(registry.server.seen).toHaveLength(5);
    expect(counted).toBe(5);
  });

  it("costs neither for a second image of the same repository", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const source = sourceFor();
    await pullImage(source, registry.addImage("org/program", "v1"));
    await pullImage(source, registry.addImage("org/program", "v2"));
    expect(registry.server.seen).toHaveLength(5 + 3);
  });

  it("costs a token but no 401 for another repository", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const source = sourceFor();
    await pullImage(source, registry.addImage("org/one"));
    await pullImage(source, registry.addImage("org/two"));
    expect(registry.rejected).toBe(1);
    expect(registry.tokenLog).toHaveLength(2);
    expect(registry.server.seen).toHaveLength(5 + 4);
  });

  it("costs no 401 when its challenge is remembered from before", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const image = registry.addImage();
    const challenges = challengeMemory();
    await sourceFor({ challenges }).resolve(image.reference);
    await pullImage(sourceFor({ challenges }), image);
    expect(registry.rejected).toBe(1);
    expect(registry.server.seen).toHaveLength(3 + 4);
  });

  it("is asked for one token when many blobs are wanted at once", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const image = registry.addImage();
    const challenges = challengeMemory();
    await sourceFor({ challenges }).resolve(image.reference);
    const source = sourceFor({ challenges });
    await Promise.all(Array.from({ length: 8 }, () => fetchBytes(source, image.reference, image.layer)));
    expect(registry.tokenLog).toHaveLength(1 + 1);
  });

  it("costs one 401 for a whole batch pulled in parallel", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const images = Array.from({ length: 10 }, (_, n) => registry.addImage(`org/p${n}`));
    const source = sourceFor();
    await Promise.all(images.map((image) => pullImage(source, image)));
    expect(registry.rejected).toBe(1);
    expect(registry.server.seen).toHaveLength(1 + 10 * 4);
  });

  it("gets the user's password at the token service only", async () => {
    const registry = await startRegistry({ kind: "bearer", user: "ann:secret" });
    await pullImage(sourceFor({ credentials: login("ann", "secret") }), registry.addImage());
    for (const { path, headers } of registry.server.seen) {
      if (path.startsWith("/token")) expect(headers.authorization).toBe(basic("ann:secret"));
      else expect(headers.authorization ?? "Bearer").toMatch(/^Bearer/);
    }
  });

  it("replaces a token that the registry no longer knows, once", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const image = registry.addImage();
    const source = sourceFor();
    await source.resolve(image.reference);
    registry.revokeTokens();
    await source.resolve(image.reference);
    expect(registry.rejected).toBe(2);
    expect(registry.tokenLog).toHaveLength(2);
  });

  it("replaces a token before it expires, and keeps one for a minute though it claims less", async () => {
    const registry = await startRegistry({ kind: "bearer", expiresIn: 1 });
    const image = registry.addImage();
    const clock = new TestClock();
    const source = sourceFor({ clock });
    await source.resolve(image.reference);
    clock.advance(40_000);
    await source.resolve(image.reference);
    expect(registry.tokenLog).toHaveLength(1);
    clock.advance(10_000);
    await source.resolve(image.reference);
    expect(registry.tokenLog).toHaveLength(2);
    expect(registry.rejected).toBe(1);
  });

  it("does not remember a failure of its token service", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const image = registry.addImage();
    const source = sourceFor();
    registry.server.on(/^\/token/, status(403));
    expect((await failureOf(source.resolve(image.reference))).code).toBe("UNAUTHORIZED");
    await source.resolve(image.reference);
  });

  it("that refuses the password is UNAUTHORIZED and says where the password is from, not what it is", async () => {
    const registry = await startRegistry({ kind: "bearer", user: "ann:secret" });
    const image = registry.addImage();
    const source = sourceFor({ credentials: login("ann", "wrong-password") });
    const failure = await failureOf(source.resolve(image.reference));
    expect(failure.code).toBe("UNAUTHORIZED");
    expect(failure.message).toContain("the test");
    expect(failure.message).toContain("incorrect username or password");
    expect(failure.message).not.toContain("wrong-password");
    expect(failure.hint).toContain("docker login");
  });

  it("that still refuses with a fresh token is UNAUTHORIZED after two requests, not a loop", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const image = registry.addImage();
    const realm = `${registry.server.origin}/token`;
    const refusal = status(401, {
      "www-authenticate": `Bearer realm="${realm}",service="s",scope="repository:org/program:pull"`,
    });
    registry.server.on(/v2/, ...times(10, refusal));
    const failure = await failureOf(sourceFor().resolve(image.reference));
    expect(failure.code).toBe("UNAUTHORIZED");
    expect(registry.server.seen).toHaveLength(3);
  });

  it("that lacks a scope gets one more token, with the scope it names", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const image = registry.addImage();
    const realm = `${registry.server.origin}/token`;
    const refusal = status(401, {
      "www-authenticate": `Bearer realm="${realm}",service="s",scope="repository:mirror/org/program:pull repository:org/program:pull",error="insufficient_scope"`,
    });
    registry.server.on(/manifests/, () => "pass", refusal);
    const source = sourceFor();
    await source.resolve(image.reference);
    expect(registry.tokenLog).toHaveLength(2);
    expect(registry.tokenLog[1]).toContain("scope=repository%3Amirror");
    await source.resolve(image.reference);
    expect(registry.server.seen).toHaveLength(5 + 1);
  });

  it("whose token answer is too long, not JSON, empty, or no header value, is UNAUTHORIZED", async () => {
    const bad = [
      '{"token":"a\\r\\nb: c"}',
      "<html>",
      "",
      '{"token":""}',
      `{"token":"${"x".repeat(70_000)}"}`,
    ];
    for (const body of bad) {
      const registry = await startRegistry({ kind: "bearer" });
      registry.server.on(/^\/token/, status(200, {}, body));
      const failure = await failureOf(sourceFor().resolve(registry.addImage().reference));
      expect(failure.code).toBe("UNAUTHORIZED");
    }
  });

  it("may send access_token instead of token", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const { reference } = registry.addImage();
    let given = "";
    registry.server.on(/^\/token/, status(200, {}, '{"token":"","access_token":"tok"}'));
    registry.server.on(
      /manifests/,
      () => "pass",
      ({ headers }, response) => {
        given = headers.authorization ?? "";
        response.writeHead(200).end("{}");
      },
    );
    await sourceFor().resolve(reference);
    expect(given).toBe("Bearer tok");
  });
});

describe("identity tokens", () => {
  const identity = credentials({ kind: "identity-token", token: "refresh-me", from: "the test" });

  it("buy a token by POST", async () => {
    const registry = await startRegistry({ kind: "bearer" });
    const { reference } = registry.addImage();
    registry.server.on(/^\/token/, status(200, {}, '{"access_token":"tok"}'));
    registry.server.on(/manifests/, () => "pass", status(200, {}, "{}"));
    await sourceFor({ credentials: identity }).resolve(reference);
    const form = new URLSearchParams(registry.server.seen[1]?.body);
    expect(registry.server.seen[1]?.method).toBe("POST");
    expect(Object.fromEntries(form)).toMatchObject({
      grant_type: "refresh_token",
      refresh_token: "refresh-me",
      scope: "repository:org/program:pull",
      service: "test",
    });
  });

  it("fall back to GET where the service has no POST", async () => {
    const registry = await startRegistry({ kind: "bearer", user: "<token>:refresh-me" });
    registry.server.on(({ method }) => method === "POST", status(404));
    await sourceFor({ credentials: identity }).resolve(registry.addImage().reference);
    expect(registry.tokenLog.map((line) => line.split(" ")[0])).toEqual(["POST", "GET"]);
  });
});

describe("a Basic registry", () => {
  it("costs one 401, then none", async () => {
    const registry = await startRegistry({ kind: "basic", user: "ann:secret" });
    const source = sourceFor({ credentials: login("ann", "secret") });
    await pullImage(source, registry.addImage("org/one"));
    await pullImage(source, registry.addImage("org/two"));
    expect(registry.rejected).toBe(1);
    expect(registry.server.seen).toHaveLength(1 + 6);
  });

  it("without credentials is UNAUTHORIZED with a way out", async () => {
    const registry = await startRegistry({ kind: "basic", user: "ann:secret" });
    const failure = await failureOf(sourceFor().resolve(registry.addImage().reference));
    expect(failure.code).toBe("UNAUTHORIZED");
    expect(failure.hint).toContain("docker login");
    expect(registry.server.seen).toHaveLength(1);
  });

  it("that refuses the password is asked twice, not for ever", async () => {
    const registry = await startRegistry({ kind: "basic", user: "ann:secret" });
    const source = sourceFor({ credentials: login("ann", "wrong") });
    expect((await failureOf(source.resolve(registry.addImage().reference))).code).toBe("UNAUTHORIZED");
    expect(registry.server.seen).toHaveLength(2);
  });

  it("asks for the credential again after a refusal: it may have changed", async () => {
    const registry = await startRegistry({ kind: "basic", user: "ann:secret" });
    const { reference } = registry.addImage();
    let password = "wrong";
    const source = sourceFor({
      credentials: {
        credentialFor: async () => ({ kind: "password", username: "ann", password, from: "the test" }),
      },
    });
    await failureOf(source.resolve(reference));
    password = "secret";
    await source.resolve(reference);
  });

  it("finds a login that was made after the first refusal", async () => {
    for (const kind of ["basic", "bearer"] as const) {
      const registry = await startRegistry({ kind, user: "ann:secret" });
      const { reference } = registry.addImage();
      let provider = noCredentials;
      const source = sourceFor({
        credentials: { credentialFor: (host, repository) => provider.credentialFor(host, repository) },
      });
      expect((await failureOf(source.resolve(reference))).code).toBe("UNAUTHORIZED");
      provider = login("ann", "wrong");
      expect((await failureOf(source.resolve(reference))).code).toBe("UNAUTHORIZED");
      provider = login("ann", "secret");
      await source.resolve(reference);
    }
  });

  it("is preferred less than Bearer when both are offered, in one header or two", async () => {
    for (const join of [false, true]) {
      const registry = await startRegistry({ kind: "bearer" });
      const { reference } = registry.addImage();
      const offers = [
        "Negotiate",
        'Basic realm="x"',
        `Bearer realm="${registry.server.origin}/token",service="test"`,
      ];
      const header = join ? offers.join(", ") : offers;
      registry.server.on(/manifests/, status(401, { "www-authenticate": header }));
      await sourceFor({ credentials: login("ann", "secret") }).resolve(reference);
      expect(registry.tokenLog).toHaveLength(1);
    }
  });
});

describe("asking for credentials", () => {
  it("does not happen before a registry demands them", async () => {
    const registry = await startRegistry();
    const source = sourceFor({
      credentials: { credentialFor: () => Promise.reject(new Error("a helper program was run")) },
    });
    await pullImage(source, registry.addImage());
  });

  it("never happens for a stranger to whom the registry redirected", async () => {
    const registry = await startRegistry();
    const stranger = await startServer();
    stranger.fallback = status(401, { "www-authenticate": 'Basic realm="give it to me"' });
    const { reference, layer } = registry.addImage();
    registry.server.on(/blobs/, status(307, { location: `${stranger.origin}/layer` }));
    const failure = await failureOf(
      sourceFor({ credentials: login("ann", "secret") }).fetch(reference, layer),
    );
    expect(failure.code).toBe("UNAUTHORIZED");
    expect(stranger.seen).toHaveLength(1);
    expect(stranger.seen[0]?.headers.authorization).toBeUndefined();
  });

  it("403 without a challenge is UNAUTHORIZED at once", async () => {
    const registry = await startRegistry();
    const { reference } = registry.addImage();
    registry.server.on(/manifests/, status(403, {}, '{"errors":[{"code":"DENIED","message":"not yours"}]}'));
    const failure = await failureOf(sourceFor({ credentials: noCredentials }).resolve(reference));
    expect(failure.code).toBe("UNAUTHORIZED");
    expect(failure.message).toContain("DENIED: not yours");
  });
});
