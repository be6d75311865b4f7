import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { certificateDirectories } from "../../../src/source/registry/host-certificates.js";
import { requireTools } from "../../support/tools.js";
import { failureOf, lookupAs, pullImage, sourceFor, startRegistry } from "./support.js";
import { useCertificates } from "./use-certificates.js";

const missing = requireTools("openssl");
const certificates = useCertificates();
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), "bpfcache-certs-"));
});
afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

function install(host: string, files: Record<string, string>): void {
  mkdirSync(join(directory, host), { recursive: true });
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, host, name), text);
}

describe.skipIf(missing)(`certs.d${missing ?? ""}`, () => {
  it("has the authority of a registry, and of that one only", async () => {
    const registry = await startRegistry({ kind: "none" }, certificates);
    const host = `registry.example:${registry.server.port}`;
    install(host, { "ca.crt": certificates.ca });
    const source = sourceFor({ certificateDirectories: [directory], lookup: lookupAs("127.0.0.1") });
    await pullImage(source, registry.addImage("org/program", "v1", undefined, host));
    const other = registry.addImage("org/program", "v1", undefined, `localhost:${registry.server.port}`);
    expect((await failureOf(source.resolve(other.reference))).code).toBe("UNREACHABLE");
  });

  it("lets TLS be found at a loopback host, at the cost of one request", async () => {
    const registry = await startRegistry({ kind: "none" }, certificates);
    const host = `localhost:${registry.server.port}`;
    install(host, { "ca.crt": certificates.ca });
    const source = sourceFor({ certificateDirectories: [directory] });
    let counted = 0;
    await pullImage(source, registry.addImage("org/program", "v1", undefined, host), {
      onRequest: () => counted++,
    });
    expect(counted).toBe(4);
    expect(registry.server.seen).toHaveLength(3);
  });

  it("has the client certificate that a registry demands", async () => {
    const tls = { ...certificates, requestCert: true, rejectUnauthorized: true };
    const registry = await startRegistry({ kind: "none" }, tls);
    const host = `registry.example:${registry.server.port}`;
    const image = registry.addImage("org/program", "v1", undefined, host);
    const lookup = lookupAs("127.0.0.1");
    const without = sourceFor({ caFile: certificates.caFile, lookup, limits: { retries: 1 } });
    expect((await failureOf(without.resolve(image.reference))).code).toBe("UNREACHABLE");
    const { key, cert } = certificates.client;
    install(host, { "ca.crt": certificates.ca, "client.cert": cert, "client.key": key });
    await pullImage(sourceFor({ certificateDirectories: [directory], lookup }), image);
  });

  it("with half a pair is USAGE", async () => {
    const registry = await startRegistry({ kind: "none" }, certificates);
    const host = `registry.example:${registry.server.port}`;
    install(host, { "client.cert": certificates.client.cert });
    const image = registry.addImage("org/program", "v1", undefined, host);
    const failure = await failureOf(
      sourceFor({ certificateDirectories: [directory] }).resolve(image.reference),
    );
    expect(failure.code).toBe("USAGE");
    expect(failure.message).toContain("client.key");
  });

  it("is looked for where Podman and Docker have it", () => {
    expect(certificateDirectories({ HOME: "/home/ann" })).toEqual([
      "/home/ann/.config/containers/certs.d",
      "/etc/containers/certs.d",
      "/etc/docker/certs.d",
    ]);
  });
});
