import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseSize } from "../../src/cli/size.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { json, lastLine, sampleImage, User } from "./command.js";

const amd64 = ["--platform", "linux/amd64"];

describe("prune and usage", () => {
  let registry: TestRegistry;
  let user: User;
  let references: string[];

  beforeAll(async () => {
    registry = await startTestRegistry();
    references = ["one", "two", "three"].map((name) => {
      registry.add(`org/${name}:v1`, sampleImage(name));
      return registry.reference(`org/${name}:v1`);
    });
    user = new User();
    await succeed(["prefetch", ...references]);
  });

  afterAll(async () => {
    user[Symbol.dispose]();
    await registry.close();
  });

  async function succeed(args: readonly string[]): Promise<string> {
    const { status, stdout, stderr } = await user.bpfcache([...args, ...amd64, "--progress", "quiet"]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: "" });
    return stdout;
  }

  it("usage shows each image with a bar, the sums, and the file", async () => {
    const text = await succeed(["usage", "--max-size", "1M"]);
    for (const reference of references) expect(text).toMatch(new RegExp(`^${reference} .*[█░]$`, "m"));
    expect(text).toMatch(/^3 images, .* needed by one alone, the rest shared$/m);
    expect(text).toMatch(/^on disk .* of it free$/m);
    expect(text).toMatch(/^may take 1.0 MiB: above 921.6 KiB evicts down to 768.0 KiB$/m);
  });

  it("usage --json has the keys of the contract, by its alias df", async () => {
    const number = expect.any(Number);
    const image = {
      reference: expect.any(String),
      platform: "linux/amd64",
      bytes: number,
      uniqueBytes: number,
    };
    expect(json(await succeed(["df", "--json"]))).toEqual({
      bytes: number,
      uniqueBytes: number,
      fileBytes: number,
      freeBytes: number,
      images: [image, image, image],
      limits: null,
    });
    const { limits } = json(await succeed(["df", "--json", "--max-size", "1000"]));
    expect(limits).toEqual({ maxBytes: 1_000, highBytes: 900, lowBytes: 750 });
  });

  it("usage --format prometheus has what earlier processes counted, and what is here", async () => {
    const text = await succeed(["usage", "--format", "prometheus"]);
    expect(text).toContain(
      '# TYPE bpfcache_misses_total counter\nbpfcache_misses_total{reason="absent"} 3\n',
    );
    expect(text).toMatch(/^bpfcache_references 3$/m);
    expect(json(await succeed(["usage", "--format", "prometheus", "--json"])).counters.published).toBe(3);
  });

  it("prune --dry-run says what would go, and leaves it", async () => {
    const text = await succeed(["prune", "--max-size", "0", "--dry-run"]);
    expect(text).toMatch(/^REMOVED +PLATFORM +FREED +WHY$/m);
    for (const reference of references)
      expect(text).toMatch(new RegExp(`^${reference} +linux/amd64 .* least recently used$`, "m"));
    expect(text).toMatch(/^3 would go and free .*; nothing was changed$/m);
    expect(json(await succeed(["list", "--json"])).images).toHaveLength(3);
    expect(await succeed(["prune", "--older-than", "1h", "--keep-last", "1"])).toBe("nothing to remove\n");
  });

  it("prune --drop-layers leaves objects, and inspect shows which layers are gone", async () => {
    const [reference = ""] = references;
    const { removed } = json(await succeed(["prune", "--drop-layers", "--json"]));
    expect(removed).toEqual(
      references.map(() => ({ digest: expect.any(String), bytes: expect.any(Number), reason: "layers" })),
    );
    expect(await succeed(["inspect", reference])).toMatch(/layer digest .*, not here$/m);
    expect(json(await succeed(["pull", reference, "--json"]))).toMatchObject({ from: "cache", requests: 0 });
  });

  it("prune --json has the keys of the contract, and leaves what is pinned", async () => {
    const [first = "", second = "", third = ""] = references;
    await succeed(["pin", second]);
    const document = json(await succeed(["prune", "--keep-last", "0", "--json"]));
    const row = { platform: "linux/amd64", bytes: expect.any(Number), reason: "keep-last" };
    expect(document.removed).toEqual([
      { ...row, reference: first },
      { ...row, reference: third },
    ]);
    expect(document.bytesFreed).toBe(document.removed[0].bytes + document.removed[1].bytes);
    expect(json(await succeed(["list", "--json"])).images).toMatchObject([{ reference: second }]);
    expect(await succeed(["prune", "--unreferenced"])).toBe("nothing to remove\n");
  });

  it("BPFCACHE_MAX_SIZE is the budget of every verb, and what does not fit ends with 12", async () => {
    const [first = ""] = references;
    const { status, stderr } = await user.shell(
      `BPFCACHE_MAX_SIZE=1K bpfcache pull --json --progress quiet ${amd64.join(" ")} ${first}`,
    );
    expect(status).toBe(12);
    expect(lastLine(stderr).error).toMatchObject({ code: "CACHE_FULL" });
  });

  it("BPFCACHE_MAX_SIZE takes nothing that a prune was not told to take", async () => {
    const { status, stdout, stderr } = await user.shell("BPFCACHE_MAX_SIZE=1 bpfcache prune --unreferenced");
    expect([status, stdout], stderr).toEqual([0, "nothing to remove\n"]);
  });

  it.each([
    [["prune"]],
    [["prune", "--max-size", "many"]],
    [["prune", "--older-than", "30"]],
    [["prune", "--keep-last", "-1"]],
    [["usage", "--max-size", "-5M"]],
  ])("%j is USAGE", async (args) => {
    const { status, stderr } = await user.bpfcache([...args, "--json"]);
    expect([status, lastLine(stderr).error?.code]).toEqual([2, "USAGE"]);
  });
});

describe("a size", () => {
  it.each([
    ["0", 0],
    ["1000000", 1_000_000],
    ["12B", 12],
    ["500M", 500 * 1024 ** 2],
    ["500m", 500 * 1024 ** 2],
    ["1.5GiB", 1.5 * 1024 ** 3],
    ["2 KiB", 2_048],
    ["3kB", 3_000],
    ["1TB", 1e12],
  ])("%s is %i bytes", (text, bytes) => {
    expect(parseSize(text)).toBe(bytes);
  });

  it.each(["", "M", "-1", "1e3", "5X", "1.M", ".5M", "9999999T", "5MiBs", "0x10", "5iB"])(
    "is not %j",
    (text) => {
      expect(() => parseSize(text)).toThrow(expect.objectContaining({ code: "USAGE" }));
    },
  );
});
