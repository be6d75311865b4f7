import { describe, expect, it } from "vitest";
import { parseReference } from "../../../src/core/reference.js";
import type { RegistrySource } from "../../../src/source/registry/registry-source.js";
import { requireTools } from "../../support/tools.js";
import { directoryWith } from "../locations/support.js";
import { publish, type Site, siteOptions, sourceWithConf, startSite } from "./mirrors-support.js";
import { failureOf, pullImage, sourceFor, startRegistry } from "./support.js";
import type { TestRegistry } from "./test-registry.js";
import { useCertificates } from "./use-certificates.js";

const missing = requireTools("openssl");
const certificates = useCertificates();

/** The mirror's certificate is for registry.example; a tree that speaks of it is in the site's hosts.toml. */
function sourceBy(
  site: Site,
  mirror: TestRegistry,
  options: string,
  host = "registry.example",
): RegistrySource {
  const text = `[host."https://${host}:${mirror.server.port}"]\n${options}`;
  const { ca, client } = certificates;
  const hostsDirectory = directoryWith({
    [`${site.host}/hosts.toml`]: text,
    [`${site.host}/ca.crt`]: ca,
    [`${site.host}/client.cert`]: client.cert,
    [`${site.host}/client.key`]: client.key,
  });
  return sourceFor({ ...siteOptions(site), hostsDirectory });
}

describe.skipIf(missing)(`a mirror with TLS${missing ?? ""}`, () => {
  it("has an authority of its own, which counts for no other host", async () => {
    const site = await startSite(0);
    const mirror = await startRegistry({ kind: "none" }, certificates);
    const image = publish(site.host, [mirror]);
    const source = sourceBy(site, mirror, 'ca = "ca.crt"');
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    const other = parseReference(`registry.example:${mirror.server.port}/org/program:v1`);
    expect((await failureOf(source.resolve(other))).message).toContain("unknown authority");
  });

  it("without its authority is not believed", async () => {
    const site = await startSite(0);
    const mirror = await startRegistry({ kind: "none" }, certificates);
    const image = publish(site.host, [mirror]);
    const failure = await failureOf(sourceBy(site, mirror, "").resolve(image.reference));
    expect(failure.code).toBe("NOT_FOUND");
    expect(failure.message).toContain("unknown authority");
    expect(mirror.server.log).toEqual([]);
  });

  it("is shown the client certificate meant for it", async () => {
    const site = await startSite(0);
    const tls = { ...certificates, requestCert: true, rejectUnauthorized: true };
    const mirror = await startRegistry({ kind: "none" }, tls);
    const image = publish(site.host, [mirror]);
    const source = sourceBy(site, mirror, 'ca = "ca.crt"\nclient = [["client.cert", "client.key"]]');
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
    const without = sourceBy(site, mirror, 'ca = "ca.crt"');
    expect((await failureOf(without.resolve(image.reference))).message).toContain("registry.example");
  });

  it("need not prove who it is where skip_verify says so", async () => {
    const site = await startSite(0);
    const mirror = await startRegistry({ kind: "none" }, certificates);
    const image = publish(site.host, [mirror]);
    const source = sourceBy(site, mirror, "skip_verify = true", "other-name.example");
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
  });

  it("need not where registries.conf calls it insecure, and then speaks TLS rather than http", async () => {
    const site = await startSite(0);
    const mirror = await startRegistry({ kind: "none" }, certificates);
    const image = publish(site.host, [mirror]);
    const source = sourceWithConf(
      site,
      `[[registry]]\nlocation = "${site.host}"\n[[registry.mirror]]
       location = "other-name.example:${mirror.server.port}"\ninsecure = true`,
    );
    expect(await pullImage(source, image)).toEqual(image.layerBytes);
  });

  it("may be asked for a registry whose directory in the tree has its certificates", async () => {
    const registry = await startRegistry({ kind: "none" }, certificates);
    const host = `registry.example:${registry.server.port}`;
    const image = publish(host, [registry]);
    const hostsDirectory = directoryWith({
      [`registry.example_${registry.server.port}_/ca.crt`]: certificates.ca,
    });
    const { lookup } = siteOptions({ host });
    expect(await pullImage(sourceFor({ lookup, hostsDirectory }), image)).toEqual(image.layerBytes);
  });
});
