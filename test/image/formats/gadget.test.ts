import { describe, expect, it } from "vitest";
import { digestOf } from "../../../src/core/digest.js";
import { mediaTypes } from "../../../src/image/media-types.js";
import { failureOf, openTestCache, startRegistry, temporaryDirectory } from "../../pull/support.js";
import { artifact, gadget, gadgetTypes } from "../../support/artifact-builder.js";
import {
  content,
  imageIndex,
  minimalBpfElf,
  type TestRoot,
  writeLayout,
} from "../../support/image-builder.js";
import { wasmModule } from "../../support/wasm.js";
import { extract, objectNames, objectWith, refusalOf } from "./support.js";

const program = minimalBpfElf({
  programs: [{ name: "ig_trace", section: "tracepoint/syscalls/sys_enter_openat" }],
  maps: [{ name: "events", type: 27 }],
  sections: [{ name: ".rodata", bytes: Buffer.alloc(4), symbols: ["targ_pid"] }],
});

const yaml = `
name: trace
description: what a gadget says of itself
tracers:
  open:
    mapName: events
    structName: event
datasources:
  open:
    fields:
      pid:
        annotations:
          template: pid
params:
  ebpf:
    targ_pid:
      key: pid
      defaultValue: "0"
`;

const wasm = { mediaType: gadgetTypes.wasm, bytes: wasmModule() };
const btfgen = { mediaType: gadgetTypes.btfgen, bytes: Buffer.from("an archive of BTF") };

describe("a gadget of Inspektor Gadget (D6)", () => {
  it("is its raw program, with the metadata of its YAML and the annotations that say something", async () => {
    expect(await extract(gadget({ program, yaml }))).toMatchObject({
      format: "gadget",
      platform: undefined,
      labels: { "org.opencontainers.image.title": "trace", "io.inspektor-gadget.builder.version": "v0.0.0" },
      objects: [{ name: "program.o", digest: digestOf(program), layer: digestOf(program) }],
      attachments: [{ name: "gadget.yaml", kind: "metadata", mediaType: gadgetTypes.config }],
      metadata: { name: "trace", params: { ebpf: { targ_pid: { key: "pid", defaultValue: "0" } } } },
      disagreements: [],
    });
  });

  it("leaves out annotations without a value", async () => {
    const { labels } = await extract(gadget({ program }));
    expect(labels).not.toHaveProperty("org.opencontainers.image.url");
  });

  it("keeps its WebAssembly module and BTF beside the program", async () => {
    const image = await extract(gadget({ program, more: [wasm, btfgen] }));
    expect(objectNames(image)).toEqual(["program.o"]);
    expect(image.attachments).toEqual([
      {
        name: "program.wasm",
        kind: "wasm",
        mediaType: gadgetTypes.wasm,
        digest: digestOf(wasm.bytes),
        size: 8,
      },
      {
        name: "btfs.tar.gz",
        kind: "btf",
        mediaType: gadgetTypes.btfgen,
        digest: digestOf(btfgen.bytes),
        size: 17,
      },
    ]);
  });

  it("without metadata has the empty config, and no attachment of that", async () => {
    expect(await extract(gadget({ program }))).toMatchObject({ attachments: [], metadata: undefined });
  });

  it("is told by any one of its types: the artifact's, the config's or a layer's", async () => {
    const layer = { mediaType: gadgetTypes.program, bytes: program };
    const config = { mediaType: gadgetTypes.config, bytes: yaml };
    const images = [
      artifact({ artifactType: gadgetTypes.artifact, layers: [layer] }),
      artifact({ config, layers: [layer] }),
      artifact({ layers: [layer] }),
    ];
    const formats = await Promise.all(images.map(async (image) => (await extract(image)).format));
    expect(formats).toEqual(["gadget", "gadget", "gadget"]);
  });

  it("calls the program by its title, as the gadgets of 2023 did", async () => {
    const layers = [{ mediaType: gadgetTypes.program, bytes: program, title: "program.bpf.o" }];
    expect(objectNames(await extract(artifact({ layers })))).toEqual(["program.bpf.o"]);
  });

  it("without layers is refused, and says so", async () => {
    expect(await refusalOf(gadget({ yaml }))).toMatch(/the gadget has no layers, so it holds no eBPF object/);
  });

  it("with everything but a program is refused, and says what there is", async () => {
    expect(await refusalOf(gadget({ yaml, more: [wasm, btfgen] }))).toMatch(
      /the gadget holds no eBPF object.*program\.wasm .*btfs\.tar\.gz/,
    );
  });

  it("whose program is something else is refused, and says what it is", async () => {
    expect(await refusalOf(gadget({ program: minimalBpfElf({ machine: 62 }) }))).toMatch(
      /program layer holds no eBPF object.*x86-64 object/,
    );
  });
});

describe("a gadget's metadata", () => {
  it.each([
    ["of toppers", "toppers: {top: {mapName: stats}}", "a map stats"],
    ["of tracers", "tracers: {open: {mapName: gone}}", "a map gone"],
    ["of parameters, as until 2024", "ebpfParams: {targ_uid: {key: uid}}", "a parameter targ_uid"],
    ["of parameters", "params: {ebpf: {targ_uid: {key: uid}}}", "a parameter targ_uid"],
    ["of maps", "maps: [events, other]", "a map other"],
    ["of programs", "programs: {ig_trace: {}, ig_gone: {}}", "a program ig_gone"],
  ])("is checked against the program: names %s", async (_, text, what) => {
    const image = gadget({ program, yaml: text });
    const disagreement = `the gadget's metadata names ${what} that no object has`;
    expect((await extract(image)).disagreements).toEqual([disagreement]);
    expect(await refusalOf(image, { strict: true })).toContain(disagreement);
  });

  it.each([
    ["of other operators' parameters", "params: {socketenricher: {x: {key: x}}}"],
    ["of gadget parameters", "gadgetParams: {iface: {key: iface}}"],
  ])("is not: names %s", async (_, text) => {
    expect((await extract(gadget({ program, yaml: text }), { strict: true })).disagreements).toEqual([]);
  });

  it.each([
    ["that is no YAML", "a: b: c: ["],
    ["that is no text", Buffer.of(0xff, 0xfe, 0x41).toString("latin1")],
    ["that is a list", "[1, 2]"],
    ["that is a word", "gadget"],
    ["that is empty", " "],
    ["of several documents", "---\na: 1\n---\nb: 2\n"],
    ["over 64 KiB", `a: ${"x".repeat(65 * 1024)}`],
    ["that contains itself", "a: &a\n  b: *a\n"],
    ["of very many aliases", `a: &a x\nb: [${"*a, ".repeat(50)}*a]`],
    [
      "that grows without end (billion laughs)",
      Array.from({ length: 12 }, (_, i) => `a${i}: &a${i} [${`*a${i - 1}, `.repeat(8)}x]`)
        .join("\n")
        .replace(/\*a-1, /g, ""),
    ],
    ["nested 10,000 deep", "[".repeat(10_000)],
  ])("%s is refused, at once", async (_, text) => {
    const start = performance.now();
    expect(await refusalOf(gadget({ program, yaml: text }))).toMatch(/the gadget's metadata is/);
    expect(performance.now() - start).toBeLessThan(2_000);
  });

  it("gives plain data: no prototype is reached through it", async () => {
    const { metadata } = await extract(gadget({ program, yaml: "__proto__: {polluted: true}\nname: x\n" }));
    expect(metadata?.["name"]).toBe("x");
    expect(({} as Record<string, unknown>)["polluted"]).toBeUndefined();
    expect((metadata as Record<string, unknown>)["polluted"]).toBeUndefined();
  });
});

describe("an index of gadgets", () => {
  const root = (...platforms: readonly string[]): TestRoot =>
    imageIndex(platforms.map((platform) => ({ image: gadget({ program, yaml }), platform })));

  async function serve(image: TestRoot) {
    const registry = await startRegistry();
    registry.add("gadget/trace:latest", image);
    return { cache: await openTestCache(), reference: registry.reference("gadget/trace:latest") };
  }

  it("is pulled, inspected and read", async () => {
    const { cache, reference } = await serve(
      imageIndex([
        { image: gadget({ program, yaml, more: [wasm, btfgen] }), platform: "linux/amd64" },
        { image: gadget({ program: objectWith("other") }), platform: "linux/arm64" },
      ]),
    );
    await cache.pull(reference);
    expect(cache.inspect(reference)).toMatchObject({
      format: "gadget",
      platforms: ["linux/amd64", "linux/arm64"],
      metadata: { name: "trace" },
      attachments: [{ kind: "metadata" }, { kind: "wasm" }, { kind: "btf" }],
      warnings: [],
    });
    expect(cache.bytecode(reference).bytes).toEqual(program);
    const listed = cache.list();
    expect(listed.map(({ objects: [object] }) => object?.programs[0]?.name)).toEqual(["ig_trace"]);
  });

  it("with one digest for two platforms serves both, and claims neither for the image", async () => {
    const { cache, reference } = await serve(root("linux/amd64", "linux/arm64"));
    const images = [
      await cache.pull(reference, { platform: "linux/arm64" }),
      await cache.pull(reference, { platform: "linux/amd64" }),
    ];
    expect(images.map(({ platform, bytesFetched, from }) => [platform, bytesFetched > 0, from])).toEqual([
      ["linux/arm64", true, "registry"],
      ["linux/amd64", true, "registry"],
    ]);
    expect(images[1]?.manifestDigest).toBe(images[0]?.manifestDigest);
  });

  it("has nothing for a platform it does not name", async () => {
    const { cache, reference } = await serve(root("linux/amd64"));
    const failure = await failureOf(cache.pull(reference, { platform: "linux/arm64" }));
    expect(failure.code).toBe("PLATFORM_MISMATCH");
  });

  it("is taken in from an export of ig: a layout with a tagged root and untagged children (D7)", async () => {
    const image = gadget({ program, yaml });
    const directory = `${temporaryDirectory()}/layout`;
    const name = "ghcr.io/x/y:latest";
    writeLayout(directory, [
      { name, root: imageIndex([{ image, platform: "linux/amd64" }]) },
      { root: image },
    ]);
    const cache = await openTestCache();
    const { images, failed } = await cache.seed([directory]);
    expect(failed).toEqual([]);
    expect(images.map(({ reference, format }) => [reference, format])).toEqual([[name, "gadget"]]);
  });
});

describe("what an index says of a gadget's platform", () => {
  const image = gadget({ program });
  it("is the image's, which does not say it itself", async () => {
    const platform = { os: "linux", architecture: "arm64" };
    expect((await extract(image, { entryPlatform: platform })).platform).toEqual(platform);
  });

  it("is nothing to an image that says it itself", async () => {
    const config = content('{"os":"linux","architecture":"amd64"}', mediaTypes.ociConfig);
    const own = artifact({
      config: { mediaType: config.mediaType, bytes: config.bytes },
      layers: [{ mediaType: "application/octet-stream", bytes: program }],
    });
    const entryPlatform = { os: "linux", architecture: "arm64" };
    expect((await extract(own, { entryPlatform })).platform?.architecture).toBe("amd64");
  });
});
