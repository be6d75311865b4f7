import { mkdirSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache, type RegistryConfig } from "../../src/index.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { bytecodeImage } from "../support/image-builder.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";
import { pushOverHttp } from "./images.js";

/** A name that leads nowhere: only a mirror can answer for it. */
const upstream = "registry.invalid";
const image = bytecodeImage();

/** A port that nothing listens on. */
async function deadHost(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return `127.0.0.1:${address.port}`;
}

const missing = requireTools("docker-registry");
describe.skipIf(missing)(`a docker-registry as the second mirror, the first one dead${missing ?? ""}`, () => {
  let directory: TemporaryDirectory;
  let registry: DockerRegistry;
  let dead: string;

  beforeAll(async () => {
    directory = new TemporaryDirectory();
    registry = await DockerRegistry.start();
    dead = await deadHost();
    await pushOverHttp(registry.host, "org/prog", "v1", image);
  });

  afterAll(async () => {
    await registry[Symbol.asyncDispose]();
    directory[Symbol.dispose]();
  });

  async function pullWith(registryConfig: RegistryConfig): Promise<void> {
    await using cache = await openCache({ platform: "linux/amd64", registryConfig });
    const pulled = await cache.pull(`${upstream}/org/prog:v1`);
    expect(pulled).toMatchObject({
      reference: `${upstream}/org/prog:v1`,
      rootDigest: image.root.digest,
      from: "registry",
    });
  }

  it("answers for a registry that hosts.toml names it for", async () => {
    const hosts = directory.join("hosts");
    mkdirSync(join(hosts, upstream), { recursive: true });
    const mirrors = [dead, registry.host].map(
      (host) => `[host."http://${host}"]\ncapabilities = ["pull", "resolve"]\n`,
    );
    writeFileSync(join(hosts, upstream, "hosts.toml"), `server = "https://${upstream}"\n${mirrors.join("")}`);
    await pullWith({ hostsDirectory: hosts, registriesConf: "/dev/null" });
  });

  it("answers for a registry that registries.conf names it for", async () => {
    const conf = directory.join("registries.conf");
    const mirrors = [dead, registry.host].map(
      (host) => `[[registry.mirror]]\nlocation = "${host}"\ninsecure = true\n`,
    );
    writeFileSync(
      conf,
      `[[registry]]\nprefix = "${upstream}"\nlocation = "${upstream}"\n${mirrors.join("")}`,
    );
    await pullWith({ registriesConf: conf });
  });
});
