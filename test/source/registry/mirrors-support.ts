import { randomBytes } from "node:crypto";
import { digestOf } from "../../../src/core/digest.js";
import { parseReference } from "../../../src/core/reference.js";
import { mediaTypes } from "../../../src/image/media-types.js";
import type { RegistryOptions, RegistrySource } from "../../../src/source/registry/registry-source.js";
import { directoryWith } from "../locations/support.js";
import { lookupAs, sourceFor, startRegistry } from "./support.js";
import type { Auth, TestImage, TestRegistry } from "./test-registry.js";

/** A registry under the name `upstream.example`, and others that copy it. All names lead to this machine. */
export interface Site {
  readonly upstream: TestRegistry;
  /** Host and port as references name the upstream. */
  readonly host: string;
  readonly mirrors: readonly TestRegistry[];
}

export async function startSite(mirrors = 1, auth?: Auth): Promise<Site> {
  const upstream = await startRegistry(auth);
  const started: TestRegistry[] = [];
  for (let index = 0; index < mirrors; index += 1) started.push(await startRegistry());
  return { upstream, host: `upstream.example:${upstream.server.port}`, mirrors: started };
}

/** The URL of a mirror, under a name of its own. */
export function urlOf(mirror: TestRegistry, name = "mirror.example"): string {
  return `${mirror.server.scheme}://${name}:${mirror.server.port}`;
}

/** Where a mirror is that nobody answers at: the discard port of this machine. */
export const deadUrl = "http://dead.example:9";

/** The same image in several registries; the reference names it at `host`. */
export function publish(
  host: string,
  registries: readonly TestRegistry[],
  repository = "org/program",
  layerBytes = randomBytes(3_000),
): TestImage {
  const configBytes = Buffer.from(`{"n":"${randomBytes(4).toString("hex")}"}`);
  const config = { mediaType: mediaTypes.ociConfig, digest: digestOf(configBytes), size: configBytes.length };
  const layer = { mediaType: mediaTypes.ociLayerGzip, digest: digestOf(layerBytes), size: layerBytes.length };
  const document = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] };
  const manifest = Buffer.from(JSON.stringify(document));
  for (const registry of registries) {
    registry.addBlob(repository, configBytes, config.mediaType);
    registry.addBlob(repository, layerBytes, layer.mediaType);
    registry.putManifest(repository, "v1", manifest, mediaTypes.ociManifest);
  }
  return {
    reference: parseReference(`${host}/org/program:v1`),
    manifest,
    descriptor: {
      mediaType: mediaTypes.ociManifest,
      digest: digestOf(manifest),
      size: manifest.length,
    },
    config,
    layer,
    layerBytes,
  };
}

/** A source for the site with this hosts.toml for its upstream. */
export function sourceWithHosts(
  site: Site,
  hostsToml: string,
  options: RegistryOptions = {},
): RegistrySource {
  const hostsDirectory = directoryWith({ [`${site.host}/hosts.toml`]: hostsToml });
  return sourceFor({ ...siteOptions(site), hostsDirectory, ...options });
}

/** A source for the site with this registries.conf. */
export function sourceWithConf(site: Site, conf: string, options: RegistryOptions = {}): RegistrySource {
  const registriesConf = `${directoryWith({ "registries.conf": conf })}/registries.conf`;
  return sourceFor({ ...siteOptions(site), registriesConf, ...options });
}

export function siteOptions({ host }: Pick<Site, "host">): RegistryOptions {
  return { lookup: lookupAs("127.0.0.1"), plainHttp: [host] };
}
