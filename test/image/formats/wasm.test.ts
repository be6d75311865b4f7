import { describe, expect, it } from "vitest";
import { digestOf } from "../../../src/core/digest.js";
import { customSections } from "../../../src/image/wasm/custom-sections.js";
import { artifact } from "../../support/artifact-builder.js";
import { gzip, minimalBpfElf } from "../../support/image-builder.js";
import { customSection, wasmComponent, wasmModule } from "../../support/wasm.js";
import { extract, objectNames, objectWith, refusalOf } from "./support.js";

const elf = minimalBpfElf();
const code = { id: 10, bytes: Buffer.from([0]) };
const withObject = wasmModule([code, customSection("probe.bpf.o", elf), customSection("name", Buffer.of(0))]);

function eunomia(module: Uint8Array, mediaType = "application/vnd.wasm.content.layer.v1+wasm") {
  return artifact({
    config: { mediaType: "application/vnd.wasm.config.v1+json", bytes: "{}" },
    layers: [{ mediaType, bytes: module, title: "app.wasm" }],
  });
}

describe("an image of a WebAssembly module (D9)", () => {
  it("gives the object in a custom section, and keeps the module", async () => {
    expect(await extract(eunomia(withObject))).toMatchObject({
      format: "wasm",
      objects: [{ name: "probe.bpf.o", digest: digestOf(elf), layer: digestOf(withObject) }],
      attachments: [{ name: "app.wasm", kind: "wasm", digest: digestOf(withObject) }],
    });
  });

  it("gives all objects when there are several", async () => {
    const module = wasmModule([
      customSection("a", objectWith("first")),
      customSection("a", objectWith("second")),
      customSection("", objectWith("third")),
    ]);
    expect(objectNames(await extract(eunomia(module)))).toEqual(["a", "a-2", "program.o"]);
  });

  it("may be gzipped, or called something else", async () => {
    expect(objectNames(await extract(eunomia(gzip(withObject), "application/octet-stream")))).toEqual([
      "probe.bpf.o",
    ]);
  });

  it.each([
    "application/wasm",
    "application/vnd.module.wasm.content.layer.v1+wasm",
    "application/vnd.bytecodealliance.wasm.component.layer.v0+wasm",
  ])("is told by its layer's type alone: %s", async (mediaType) => {
    expect((await extract(artifact({ layers: [{ mediaType, bytes: withObject }] }))).format).toBe("wasm");
  });

  it("may be a component with the module in it", async () => {
    const inner = wasmComponent([{ id: 1, bytes: withObject }]);
    const component = wasmComponent([{ id: 4, bytes: inner }, customSection("x", Buffer.of(1))]);
    expect(objectNames(await extract(eunomia(component)))).toEqual(["probe.bpf.o"]);
  });

  it("without an object is refused, and says where one was looked for", async () => {
    expect(await refusalOf(eunomia(wasmModule([code])))).toMatch(
      /the WebAssembly image holds no eBPF object.*app\.wasm \(a WebAssembly module\).*custom section/,
    );
  });

  it("does not take an object of another machine for one", async () => {
    const module = wasmModule([customSection("x.o", minimalBpfElf({ machine: 62 }))]);
    expect(await refusalOf(eunomia(module))).toMatch(/holds no eBPF object/);
  });

  it("is held to the limit of objects", async () => {
    expect(await refusalOf(eunomia(withObject), { limits: { objectBytes: 100 } })).toMatch(
      /"probe.bpf.o" is larger than 100 bytes/,
    );
  });
});

describe("the custom sections of a module", () => {
  it("are found among others, in order, with their bytes", () => {
    const module = wasmModule([
      code,
      customSection("a", Buffer.from("1")),
      customSection("b", Buffer.alloc(0)),
    ]);
    expect(customSections(module)).toEqual([
      { name: "a", bytes: Buffer.from("1") },
      { name: "b", bytes: Buffer.alloc(0) },
    ]);
  });

  it("are none in an empty module", () => {
    expect(customSections(wasmModule())).toEqual([]);
  });

  const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
  it.each([
    ["no header", [0, 0x61, 0x73, 0x6d]],
    ["a section without a length", [...header, 0]],
    ["a section that reaches beyond the end", [...header, 0, 5, 0]],
    ["a name that reaches beyond its section", [...header, 0, 1, 5, 0x61, 0x61, 0x61, 0x61, 0x61]],
    ["a custom section without a name", [...header, 0, 0]],
    ["a length of six bytes", [...header, 0, 0x80, 0x80, 0x80, 0x80, 0x80, 0]],
    ["a length over 32 bits", [...header, 0, 0xff, 0xff, 0xff, 0xff, 0x7f]],
    ["a length of 4 GiB", [...header, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]],
  ])("are INVALID_IMAGE in a module with %s", (_, bytes) => {
    expect(() => customSections(Buffer.from(bytes))).toThrow(
      expect.objectContaining({ code: "INVALID_IMAGE" }),
    );
  });

  it("are INVALID_IMAGE in components without end", () => {
    let component = wasmComponent();
    for (let depth = 0; depth < 100; depth++) component = wasmComponent([{ id: 4, bytes: component }]);
    expect(() => customSections(component)).toThrow(/nested deeper/);
  });

  it("cut or changed anywhere give INVALID_IMAGE or sections, and nothing else", () => {
    for (let at = 8; at < 64; at++) {
      for (const byte of [0, 1, 0x7f, 0x80, 0xff]) {
        const changed = Buffer.from(withObject);
        changed.writeUInt8(byte, at);
        for (const bytes of [changed, withObject.subarray(0, at)]) {
          try {
            customSections(bytes);
          } catch (error) {
            expect(error).toMatchObject({ code: "INVALID_IMAGE" });
          }
        }
      }
    }
  });
});
