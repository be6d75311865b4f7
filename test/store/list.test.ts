import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import type { BytecodeCache } from "../../src/cache.js";
import { openCache } from "../../src/open-cache.js";
import { Environment } from "../../src/store/environment.js";
import { type ListFilter, listImages } from "../../src/store/list.js";
import type { ImageRecord } from "../../src/store/records.js";
import { decodeRecord, encodeRecord } from "../../src/store/values.js";
import {
  bytecodeImage,
  imageIndex,
  minimalBpfElf,
  type TestImage,
  writeLayout,
} from "../support/image-builder.js";

describe("list", () => {
  const directory = mkdtempSync(join(tmpdir(), "bpfcache-list-"));
  let cache: BytecodeCache;

  function image(program: string, section: string, map: string, platform = "linux/amd64"): TestImage {
    const bytes = minimalBpfElf({ programs: [{ name: program, section }], maps: [{ name: map, type: 1 }] });
    return bytecodeImage({ objects: [{ path: `${program}.o`, bytes }], labels: {}, platform });
  }

  beforeAll(async () => {
    const both = [image("count", "xdp", "packets"), image("count", "xdp", "packets", "linux/arm64")];
    const layout = join(directory, "layout");
    writeLayout(layout, [
      { name: "x.io/count:v1", root: imageIndex(both.map((each) => ({ image: each }))) },
      { name: "x.io/count:v2", root: both[0] ?? image("count", "xdp", "packets") },
      { name: "x.io/trace:v1", root: image("trace", "tracepoint/x/y", "packets") },
      { name: "x.io/counter:v1", root: image("counter", "tc", "flows") },
    ]);
    cache = await openCache({ platform: "linux/amd64" });
    await cache.seed([layout]);
    await cache.seed([layout], { platform: "linux/arm64" });
  });

  afterAll(async () => {
    await cache.close();
    rmSync(directory, { recursive: true, force: true });
  });

  const found = (filter?: ListFilter): string[] =>
    cache.list(filter).map(({ reference, platform }) => `${reference} ${platform.replace("linux/", "")}`);

  it("has every reference on every platform, in order", () => {
    expect(found()).toHaveLength(8);
    expect(found()).toEqual([...found()].sort());
  });

  it.each<[string, ListFilter, string[]]>([
    [
      "a program",
      { program: "count", platform: "linux/arm64" },
      ["x.io/count:v1 arm64", "x.io/count:v2 arm64"],
    ],
    ["a map", { map: "flows" }, ["x.io/counter:v1 amd64", "x.io/counter:v1 arm64"]],
    ["a type", { type: "tracepoint", platform: "linux/amd64" }, ["x.io/trace:v1 amd64"]],
    ["a platform by another name", { program: "trace", platform: "linux/aarch64" }, ["x.io/trace:v1 arm64"]],
    [
      "a program and a map",
      { program: "trace", map: "packets", platform: "linux/amd64" },
      ["x.io/trace:v1 amd64"],
    ],
    ["a program and another's map", { program: "trace", map: "flows" }, []],
    ["no part of a name", { program: "coun" }, []],
    ["a format", { format: "gadget" }, []],
    [
      "a format there is",
      { format: "container", program: "counter" },
      ["x.io/counter:v1 amd64", "x.io/counter:v1 arm64"],
    ],
  ])("finds %s", (_, filter, references) => {
    expect(found(filter)).toEqual(references);
  });

  it("does not look into the objects' own records, but for images whose records are of before they had maps", () => {
    const listed = cache.list();
    expect(listed[0]?.objects[0]?.maps).toEqual([{ name: "packets", type: "hash" }]);
    const environment = Environment.open({ directory: cache.directory });
    try {
      const asked = vi.spyOn(environment, "tree");
      const listFrom = (): readonly unknown[] => {
        asked.mockClear();
        return environment.snapshot(() => listImages(environment, {}));
      };
      expect(listFrom()).toEqual(listed);
      expect(asked.mock.calls.flat()).not.toContain("objectInfo");
      environment.commit(() => {
        const images = environment.tree("images");
        for (const { key, value } of images.entries())
          images.put(key, encodeRecord({ ...decodeRecord<ImageRecord>(value), maps: undefined }));
      });
      expect(listFrom()).toEqual(listed);
      expect(asked.mock.calls.flat()).toContain("objectInfo");
    } finally {
      environment.close();
    }
  });

  it("of a removed image finds nothing through the indexes", () => {
    cache.remove("x.io/trace:v1");
    expect(found({ program: "trace" })).toEqual([]);
    expect(found({ map: "packets", type: "tracepoint" })).toEqual([]);
  });
});
