import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { openCache } from "../../src/open-cache.js";
import { Environment } from "../../src/store/environment.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { bytecodeImage, imageIndex, minimalBpfElf, type TestRoot } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { requireTools } from "../support/tools.js";

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

/** The rows of every tree that holds content, as text. */
function contentOf(directory: string): Record<string, [string, string][]> {
  const environment = Environment.open({ directory, readOnly: true });
  try {
    const trees = ["manifests", "configs", "layers", "images", "objects", "objectInfo", "byProgram"] as const;
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
