import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { ServedCache } from "../serve/served-cache.js";
import { bytecodeImage, imageIndex } from "../support/image-builder.js";
import { because, requireTools } from "../support/tools.js";
import { execute } from "./images.js";
import { ServerProgram, serverDirectory } from "./server-program.js";

// A served cache in the place of a registry that nobody can reach, for those that pull images on a node: each asks
// under the registry's own name, and is led here by the configuration that it has for mirrors.

const upstream = "registry.invalid";
const reference = `${upstream}/org/mirrored:v1`;
const image = bytecodeImage();
const index = imageIndex([{ image }, { image: bytecodeImage({ platform: "linux/arm64" }) }]);

let served: ServedCache;
let directory: TemporaryDirectory;

beforeAll(async () => {
  directory = new TemporaryDirectory();
  served = await ServedCache.start({ [reference]: index });
  mkdirSync(directory.join("hosts", upstream), { recursive: true });
  writeFileSync(
    directory.join("hosts", upstream, "hosts.toml"),
    `server = "https://${upstream}"\n[host."${served.server.url}"]\ncapabilities = ["pull", "resolve"]\n`,
  );
  // Podman's mirrors have a path, and know of no namespace: the repository is found by its whole name.
  writeFileSync(
    directory.join("registries.conf"),
    `[[registry]]\nlocation = "${upstream}"\n[[registry.mirror]]\n` +
      `location = "${served.server.address}/${upstream}"\ninsecure = true\n`,
  );
});

afterAll(async () => {
  await served?.close();
  directory?.[Symbol.dispose]();
});

const noContainerd =
  requireTools("containerd", "ctr") ?? because(process.getuid?.() !== 0, "needs root, as containerd does");

describe.skipIf(noContainerd)(`containerd${noContainerd ?? ""}`, { timeout: 60_000 }, () => {
  it("pulls from a served cache as its mirror, by hosts.toml", async () => {
    await using containerd = await Containerd.start();
    await containerd.ctr("content", "fetch", "--hosts-dir", directory.join("hosts"), reference);
    const held = (await containerd.ctr("content", "ls", "--quiet")).split("\n");
    expect(held).toContain(index.root.digest);
    expect(held).toEqual(expect.arrayContaining([...image.manifests.keys(), ...image.blobs.keys()]));
    expect(await containerd.ctr("images", "ls", "--quiet")).toBe(`${reference}\n`);
  });
});

const noPodman = requireTools("podman");

describe.skipIf(noPodman)(`podman${noPodman ?? ""}`, { timeout: 60_000 }, () => {
  it("pulls from a served cache as its mirror, by registries.conf", async () => {
    const storage = ["--root", directory.join("root"), "--runroot", directory.join("run")];
    const words = ["pull", "--quiet", "--os=linux", "--arch=amd64", reference];
    const { stdout } = await execute("podman", [...storage, "--storage-driver", "vfs", ...words], {
      env: { ...process.env, CONTAINERS_REGISTRIES_CONF: directory.join("registries.conf") },
    });
    // Podman calls an image by the digest of its config.
    expect(stdout.trim()).toBe(image.config.digest.replace("sha256:", ""));
  });
});

describe("bpfcache", () => {
  it.each([
    ["hosts.toml", (): object => ({ hostsDirectory: directory.join("hosts"), registriesConf: "/dev/null" })],
    ["registries.conf", (): object => ({ registriesConf: directory.join("registries.conf") })],
  ])("pulls from a served cache as its mirror, by %s", async (_, registryConfig) => {
    await using cache = await openCache({ platform: "linux/amd64", registryConfig: registryConfig() });
    const { rootDigest, from } = await cache.pull(reference);
    expect({ rootDigest, from }).toEqual({ rootDigest: index.root.digest, from: "registry" });
  });
});

/** A containerd of its own, which touches nothing of the host's. */
class Containerd implements AsyncDisposable {
  private constructor(
    readonly socket: string,
    readonly program: ServerProgram,
  ) {}

  static async start(): Promise<Containerd> {
    const home = serverDirectory("containerd");
    const socket = join(home, "containerd.sock");
    const config = join(home, "config.toml");
    const lines = [
      "version = 2",
      `root = ${JSON.stringify(join(home, "root"))}`,
      `state = ${JSON.stringify(join(home, "state"))}`,
      'disabled_plugins = ["io.containerd.grpc.v1.cri"]',
      "[grpc]",
      `address = ${JSON.stringify(socket)}`,
    ];
    writeFileSync(config, `${lines.join("\n")}\n`);
    const { program } = await ServerProgram.start(
      { command: "containerd", args: ["--config", config], ready: /successfully booted/ },
      home,
    );
    return new Containerd(socket, program);
  }

  async ctr(...words: readonly string[]): Promise<string> {
    return (await execute("ctr", ["--address", this.socket, ...words])).stdout;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.program[Symbol.asyncDispose]();
  }
}
