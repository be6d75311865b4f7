import { describe, expect, it } from "vitest";
import { parseReference } from "../../../src/core/reference.js";
import { requireTools } from "../../support/tools.js";
import type { FaultServer } from "./fault-server.js";
import { status, times } from "./fault-server.js";
import {
  failureOf,
  fetchBytes,
  login,
  lookupAs,
  pullImage,
  sourceFor,
  startRegistry,
  startServer,
} from "./support.js";
import { basic, serveContent } from "./test-registry.js";
import { useCertificates } from "./use-certificates.js";

// Each test is named after what it defends against; a sink is a server that must get nothing that tells who we are.
// registry.example is a name that leads to 127.0.0.1 but does not say so: a remote registry, as far as policy goes.

const missing = requireTools("openssl");
const certificates = useCertificates();

const secret = "hunter2-hunter2";
const ann = login("ann", secret);

function expectNoSecret(sink: FaultServer): void {
  const everything = JSON.stringify(sink.seen);
  expect(everything).not.toContain(secret);
  expect(everything).not.toContain(Buffer.from(`ann:${secret}`).toString("base64"));
  for (const { headers } of sink.seen) {
    expect(Object.keys(headers).sort()).not.toEqual(expect.arrayContaining(["authorization"]));
    expect(headers.cookie).toBeUndefined();
  }
}

describe.skipIf(missing)(
  `redirects (GHSA-vh4v-2xq2-g5cg, CVE-2020-15157, regclient 746d6cf)${missing ?? ""}`,
  () => {
    it("to another port of the same host carry no Authorization", async () => {
      const registry = await startRegistry({ kind: "basic", user: `ann:${secret}` });
      const sink = await startServer();
      const image = registry.addImage();
      sink.fallback = (_, response) => response.end(image.layerBytes);
      registry.server.on(
        ({ path, headers }) => path.includes("/blobs/") && headers.authorization !== undefined,
        status(307, { location: `${sink.origin}/layer` }),
      );
      const source = sourceFor({ credentials: ann });
      await source.resolve(image.reference);
      expect(await fetchBytes(source, image.reference, image.layer)).toEqual(image.layerBytes);
      expect(sink.seen).toHaveLength(1);
      expectNoSecret(sink);
    });

    it("that come back to the registry do not bring Authorization with them", async () => {
      const registry = await startRegistry({ kind: "basic", user: `ann:${secret}` });
      const sink = await startServer();
      const image = registry.addImage();
      sink.fallback = status(307, { location: `${registry.server.origin}/back` });
      registry.server.on("/back", ({ headers }, response) => response.end(headers.authorization ?? "nobody"));
      registry.server.on(
        ({ path, headers }) => path.includes("/blobs/") && headers.authorization !== undefined,
        status(307, { location: `${sink.origin}/layer` }),
      );
      const source = sourceFor({ credentials: ann });
      await source.resolve(image.reference);
      expect((await fetchBytes(source, image.reference, image.layer)).toString()).toBe("nobody");
      expectNoSecret(sink);
    });

    it("within the registry keep Authorization", async () => {
      const registry = await startRegistry({ kind: "basic", user: `ann:${secret}` });
      const image = registry.addImage();
      registry.server.on("/moved", ({ headers }, response) => response.end(headers.authorization));
      registry.server.on(/blobs/, status(307, { location: "/moved" }));
      const source = sourceFor({ credentials: ann });
      await source.resolve(image.reference);
      expect((await fetchBytes(source, image.reference, image.layer)).toString()).toBe(
        basic(`ann:${secret}`),
      );
    });

    it("with a user and password in the Location make no Basic header", async () => {
      const registry = await startRegistry();
      const sink = await startServer();
      const image = registry.addImage();
      registry.server.on(/blobs/, status(307, { location: `http://eve:${secret}@${sink.host}/layer` }));
      sink.fallback = (_, response) => response.end("ok");
      await fetchBytes(sourceFor(), image.reference, image.layer);
      expectNoSecret(sink);
    });

    it("from https to http are refused, and nothing is sent there", async () => {
      const registry = await startRegistry({ kind: "none" }, certificates);
      const sink = await startServer();
      const image = registry.addImage();
      registry.server.on(/blobs/, status(307, { location: `${sink.origin}/layer` }));
      const failure = await failureOf(
        sourceFor({ caFile: certificates.caFile }).fetch(image.reference, image.layer),
      );
      expect(failure.code).toBe("UNREACHABLE");
      expect(failure.message).toContain("from https to http");
      expect(sink.seen).toHaveLength(0);
    });

    it("of a token request carry no password to another origin", async () => {
      const registry = await startRegistry({ kind: "bearer", user: `ann:${secret}` });
      const sink = await startServer();
      sink.fallback = status(200, {}, '{"token":"t"}');
      registry.server.on(/^\/token/, status(307, { location: `${sink.origin}/token` }));
      await failureOf(sourceFor({ credentials: ann }).resolve(registry.addImage().reference));
      expect(sink.seen.length).toBeGreaterThan(0);
      expectNoSecret(sink);
    });

    it("of a POSTed token request are not followed at all", async () => {
      const registry = await startRegistry({ kind: "bearer" });
      const sink = await startServer();
      registry.server.on(/^\/token/, ...times(2, status(307, { location: `${sink.origin}/token` })));
      const credentials = {
        credentialFor: async () => ({ kind: "identity-token" as const, token: secret, from: "the test" }),
      };
      const failure = await failureOf(sourceFor({ credentials }).resolve(registry.addImage().reference));
      expect(failure.code).toBe("UNAUTHORIZED");
      expect(sink.seen).toHaveLength(0);
    });
  },
);

describe.skipIf(missing)(
  `token realms (CVE-2026-48978, GHSA-28r5-37g7-p6mp, CVE-2026-33540)${missing ?? ""}`,
  () => {
    it("that are not https are not asked by an https registry's clients", async () => {
      const sink = await startServer();
      const registry = await startRegistry({ kind: "bearer", realm: `${sink.origin}/token` }, certificates);
      const host = `registry.example:${registry.server.port}`;
      const image = registry.addImage("org/program", "v1", undefined, host);
      const source = sourceFor({
        credentials: ann,
        caFile: certificates.caFile,
        lookup: lookupAs("127.0.0.1"),
      });
      const failure = await failureOf(source.resolve(image.reference));
      expect(failure.code).toBe("UNAUTHORIZED");
      expect(failure.message).toContain("not https");
      expect(sink.seen).toHaveLength(0);
    });

    it("on this machine are not asked for a remote registry", async () => {
      const sink = await startServer(certificates);
      for (const name of [
        `127.0.0.1:${sink.port}`,
        `localhost:${sink.port}`,
        `0x7f.1:${sink.port}`,
        `[::1]:${sink.port}`,
      ]) {
        const registry = await startRegistry(
          { kind: "bearer", realm: `https://${name}/token` },
          certificates,
        );
        const host = `registry.example:${registry.server.port}`;
        const image = registry.addImage("org/program", "v1", undefined, host);
        const source = sourceFor({
          credentials: ann,
          caFile: certificates.caFile,
          lookup: lookupAs("127.0.0.1"),
        });
        const failure = await failureOf(source.resolve(image.reference));
        expect(failure.code).toBe("UNAUTHORIZED");
        expect(failure.message).toContain("address of this machine");
      }
      expect(sink.seen).toHaveLength(0);
    });

    it("with a password in them are not asked", async () => {
      const registry = await startRegistry();
      const realm = `http://eve:x@${registry.server.host}/token`;
      registry.server.on(/v2/, status(401, { "www-authenticate": `Bearer realm="${realm}"` }));
      const failure = await failureOf(sourceFor({ credentials: ann }).resolve(registry.addImage().reference));
      expect(failure.code).toBe("UNAUTHORIZED");
      expect(registry.server.seen).toHaveLength(1);
    });

    it.each(["", "token", "javascript:alert(1)", "ftp://x/token", "http://["])(
      "%j is refused",
      async (realm) => {
        const registry = await startRegistry();
        registry.server.on(/v2/, status(401, { "www-authenticate": `Bearer realm="${realm}"` }));
        const failure = await failureOf(
          sourceFor({ credentials: ann }).resolve(registry.addImage().reference),
        );
        expect(failure.code).toBe("UNAUTHORIZED");
        expect(registry.server.seen).toHaveLength(1);
      },
    );
  },
);

describe.skipIf(missing)(
  `names that lead to this machine (go-containerregistry#2440)${missing ?? ""}`,
  () => {
    it.each([
      "127.0.0.1",
      "169.254.169.254",
      "::1",
      "::ffff:127.0.0.1",
      "fe80::1",
      "0.0.0.0",
      "100.100.100.200",
    ])("a realm whose name resolves to %s is refused when connecting", async (address) => {
      const registry = await startRegistry(
        { kind: "bearer", realm: "https://auth.example/token" },
        certificates,
      );
      const host = `registry.example:${registry.server.port}`;
      const image = registry.addImage("org/program", "v1", undefined, host);
      const lookup = lookupAs("127.0.0.1", { "auth.example": address });
      const source = sourceFor({ credentials: ann, caFile: certificates.caFile, lookup });
      const failure = await failureOf(source.resolve(image.reference));
      expect(failure.message).toContain("refused to follow the registry to auth.example");
    });

    it("a redirect to such a name is refused, and nothing is sent", async () => {
      const registry = await startRegistry();
      const sink = await startServer();
      const host = `registry.example:${registry.server.port}`;
      const image = registry.addImage("org/program", "v1", undefined, host);
      const source = sourceFor({ plainHttp: [host], lookup: lookupAs("127.0.0.1") });
      registry.server.on(/blobs/, status(307, { location: `http://cdn.example:${sink.port}/layer` }));
      const failure = await failureOf(source.fetch(image.reference, image.layer));
      expect(failure.code).toBe("UNREACHABLE");
      registry.server.on(/blobs/, status(307, { location: `${sink.origin}/layer` }));
      expect((await failureOf(source.fetch(image.reference, image.layer))).message).toContain("this machine");
      expect(sink.seen).toHaveLength(0);
      expect(sink.connections).toBe(0);
    });

    it("a registry that the user named so is asked all the same, and its own redirects followed", async () => {
      const registry = await startRegistry();
      const host = `registry.example:${registry.server.port}`;
      const image = registry.addImage("org/program", "v1", undefined, host);
      registry.server.on(/blobs/, status(307, { location: "/moved" }));
      registry.server.on("/moved", (request, response) =>
        serveContent(request, response, { mediaType: "application/octet-stream", bytes: image.layerBytes }),
      );
      const source = sourceFor({ plainHttp: [host], lookup: lookupAs("127.0.0.1") });
      expect(await fetchBytes(source, image.reference, image.layer)).toEqual(image.layerBytes);
    });

    it("a local registry may send us to others here", async () => {
      const registry = await startRegistry();
      const store = await startServer();
      const image = registry.addImage();
      store.fallback = (_, response) => response.end(image.layerBytes);
      registry.server.on(/blobs/, status(307, { location: `http://localhost:${store.port}/layer` }));
      expect(await fetchBytes(sourceFor(), image.reference, image.layer)).toEqual(image.layerBytes);
    });
  },
);

describe.skipIf(missing)(`TLS${missing ?? ""}`, () => {
  it("by a private authority works with its file, and its absence is explained", async () => {
    const registry = await startRegistry({ kind: "none" }, certificates);
    const image = registry.addImage();
    const failure = await failureOf(sourceFor().resolve(image.reference));
    expect(failure.code).toBe("UNREACHABLE");
    expect(failure.hint).toContain("--ca-file");
    await pullImage(sourceFor({ caFile: certificates.caFile }), image);
  });

  it("is tried first at a loopback host with an authority of the user's own", async () => {
    const registry = await startRegistry({ kind: "none" }, certificates);
    const image = registry.addImage("org/program", "v1", undefined, `localhost:${registry.server.port}`);
    let counted = 0;
    await pullImage(sourceFor({ caFile: certificates.caFile }), image, { onRequest: () => counted++ });
    expect(counted).toBe(3);
  });

  it("is not insisted on at a loopback host that speaks http", async () => {
    const registry = await startRegistry();
    const image = registry.addImage();
    await pullImage(sourceFor({ caFile: certificates.caFile }), image);
    expect(registry.server.seen).toHaveLength(3);
  });

  it("is never given up for http at a host with a name", async () => {
    const registry = await startRegistry();
    const host = `registry.example:${registry.server.port}`;
    const failure = await failureOf(
      sourceFor({ lookup: lookupAs("127.0.0.1") }).resolve(parseReference(`${host}/a/b:c`)),
    );
    expect(failure.code).toBe("UNREACHABLE");
    expect(registry.server.seen).toHaveLength(0);
  });

  it("with a certificate for another host is refused", async () => {
    const registry = await startRegistry({ kind: "none" }, certificates);
    const host = `other.example:${registry.server.port}`;
    const source = sourceFor({ caFile: certificates.caFile, lookup: lookupAs("127.0.0.1") });
    const failure = await failureOf(source.resolve(parseReference(`${host}/a/b:c`)));
    expect(failure.message).toContain("certificate is for another host");
  });

  it("with a CA file that is missing or no certificate is USAGE", async () => {
    const source = sourceFor({ caFile: "/nonexistent/ca.pem" });
    expect((await failureOf(source.resolve(parseReference("quay.io/a/b:c")))).code).toBe("USAGE");
    const other = sourceFor({ caFile: import.meta.filename });
    expect((await failureOf(other.resolve(parseReference("quay.io/a/b:c")))).code).toBe("USAGE");
  });
});

describe("secrets", () => {
  it("are in no event, no message and no hint", async () => {
    const registry = await startRegistry({ kind: "bearer", user: `ann:${secret}` });
    const image = registry.addImage();
    const events: unknown[] = [];
    const options = { onEvent: (event: unknown) => events.push(event) };
    await pullImage(sourceFor({ credentials: ann }), image, options);
    const echo = ({ headers }: { headers: { authorization?: string | undefined } }) =>
      `you sent ${headers.authorization}`;
    registry.server.on(/v2/, (request, response) => response.writeHead(403).end(echo(request)));
    const failure = await failureOf(sourceFor({ credentials: ann }).resolve(image.reference, options));
    const source = sourceFor({ credentials: login("ann", `${secret}-wrong`) });
    const other = await failureOf(source.resolve(image.reference, options));
    const told = JSON.stringify([events, failure.message, failure.hint, other.message, other.hint]);
    expect(told).not.toContain(secret);
    for (const { headers } of registry.server.seen) {
      const value = headers.authorization?.split(" ")[1];
      if (value !== undefined) expect(told).not.toContain(value);
    }
  });
});
