import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import { Environment } from "../../src/store/environment.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { bytecodeImage, imageIndex, minimalBpfElf, type TestRoot, tarOf } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { requireTools } from "../support/tools.js";
import { DockerRegistry } from "./docker-registry.js";
import { Oras } from "./producers-oras.js";

const missing = requireTools("oras");
const platform = "linux/amd64";

function imageOf(i: number): TestRoot {
  const objects = [{ path: `p${i}.o`, bytes: minimalBpfElf({ programs: [{ name: `program_${i}` }] }) }];
  const image = bytecodeImage({ objects, docker: i % 4 === 1 });
  return i % 3 === 0 ? imageIndex([{ image }, { image: bytecodeImage({ platform: "linux/arm64" }) }]) : image;
}

describe.skipIf(missing)(`twenty images${missing ?? ""}`, { timeout: 180_000 }, () => {
  let directory: TemporaryDirectory;
  let registry: TestRegistry;
  const names = Array.from({ length: 20 }, (_, i) => `org/image-${i}:v1`);

  beforeAll(async () => {
    directory = new TemporaryDirectory();
    registry = await startTestRegistry();
    for (const [i, name] of names.entries()) registry.add(name, imageOf(i));
  });

  afterAll(async () => {
    await registry.close();
    directory[Symbol.dispose]();
  });

  async function fill(via: "http" | "oras"): Promise<unknown> {
    const path = directory.join(via);
    await using cache = await openCache({ directory: path, via, platform });
    const { failed, images } = await cache.prefetch(names.map((name) => registry.reference(name)));
    expect(failed).toEqual([]);
    expect(new Set(images.map(({ from }) => from))).toEqual(new Set([via === "oras" ? "oras" : "registry"]));
    return contentOf(path);
  }

  it("pulled through oras and over http give the same content", async () => {
    expect(await fill("oras")).toEqual(await fill("http"));
  });

  it("are asked for by digest only when they are here unchanged", async () => {
    await using cache = await openCache({ directory: directory.join("oras"), via: "oras", platform });
    registry.forget();
    const { from, bytesFetched } = await cache.pull(registry.reference("org/image-1:v1"), {
      pullPolicy: "Always",
    });
    expect({ from, bytesFetched }).toEqual({ from: "cache", bytesFetched: 0 });
    expect(registry.requests.every(({ method }) => method === "HEAD")).toBe(true);
  });

  it("under Never ask nothing of oras", async () => {
    await using cache = await openCache({ via: "oras", offline: true });
    await expect(cache.pull(registry.reference("org/image-1:v1"))).rejects.toMatchObject({
      code: "NOT_CACHED",
    });
  });
});

const missingRegistry = requireTools("oras", "docker-registry");

describe.skipIf(missingRegistry)(`a signed image${missingRegistry ?? ""}`, { timeout: 120_000 }, () => {
  it("pulled through oras and over http has the same signatures and attestations", async () => {
    await using registry = await DockerRegistry.start();
    using oras = new Oras();
    using directory = new TemporaryDirectory();
    const reference = registry.reference("org/signed:v1");
    const tar = tarOf([{ path: "program.o", bytes: minimalBpfElf() }]);
    const files = { "layer.tar": tar };
    const layer = "layer.tar:application/vnd.oci.image.layer.v1.tar";
    await oras.run("push", ["--artifact-type", "application/vnd.example.ebpf", reference, layer], files);
    const digest = await oras.run("resolve", [reference]);
    await oras.run("attach", ["--artifact-type", "application/vnd.example.sbom", "-a", "by=test", reference]);
    const under = registry.reference(`org/signed:${digest.replace(":", "-")}.sig`);
    const type = "application/vnd.dev.cosign.simplesigning.v1+json";
    await oras.run("push", ["--artifact-type", type, under, `payload:${type}`], { payload: "{}" });
    const referrersVia = async (via: "http" | "oras"): Promise<unknown> => {
      await using cache = await openCache({ directory: directory.join(via), via, platform });
      await cache.pull(reference, { referrers: true });
      return cache.inspect(reference).referrers;
    };
    const [byOras, byHttp] = [await referrersVia("oras"), await referrersVia("http")];
    expect(byHttp).toHaveLength(2);
    expect(byOras).toEqual(byHttp);
    const [contentByOras, contentByHttp] = ["oras", "http"].map((via) => contentOf(directory.join(via)));
    expect(contentByOras).toEqual(contentByHttp);
  });
});

/** The rows of every tree that holds content, as text. */
function contentOf(directory: string): Record<string, [string, string][]> {
  const environment = Environment.open({ directory, readOnly: true });
  try {
    const trees = [
      ...(["manifests", "configs", "layers", "images", "objects"] as const),
      ...(["objectInfo", "byProgram", "byMap", "referrers"] as const),
    ];
    return Object.fromEntries(
      trees.map((name) => [
        name,
        environment
          .tree(name)
          .entries()
          .map(({ key, value }): [string, string] => [key.toString("hex"), value.toString("base64")]),
      ]),
    );
  } finally {
    environment.close();
  }
}
