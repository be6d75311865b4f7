import { digestOf } from "../../src/core/digest.js";
import type { ErrorCode } from "../../src/core/errors.js";
import type { Limits } from "../../src/core/limits.js";
import { mediaTypes } from "../../src/image/media-types.js";
import {
  bytecodeImage,
  type Content,
  content,
  gzip,
  type ImageOptions,
  imageIndex,
  layerOf,
  minimalBpfElf,
  paxRecord,
  type TarEntry,
  type TestRoot,
  tarOf,
} from "../support/image-builder.js";
import type { Fault } from "../support/registry-faults.js";
import type { TestRegistry } from "../support/test-registry.js";

/** What is pulled in every case. */
export const hostileName = "org/prog:v1";

/** Something no honest registry would serve, and what pulling it must end with. */
export interface HostileCase {
  readonly what: string;
  readonly code: ErrorCode;
  /** Makes the registry serve it as `hostileName`. */
  readonly serve: (registry: TestRegistry) => void;
  readonly limits?: Partial<Limits>;
  /** Also tried through the command line. */
  readonly onCommandLine?: boolean;
}

const elf = minimalBpfElf();
const object: TarEntry = { path: "program.o", bytes: elf };
const good = bytecodeImage();
const goodLayer = good.layers[0] ?? good.config;

function serving(root: TestRoot) {
  return (registry: TestRegistry): void => registry.add(hostileName, root);
}

function invalid(what: string, root: () => TestRoot, more: Partial<HostileCase> = {}): HostileCase {
  // Built when it is served: some are megabytes.
  return { what, code: "INVALID_IMAGE", serve: (registry) => registry.add(hostileName, root()), ...more };
}

function withLayer(bytes: Uint8Array): TestRoot {
  return bytecodeImage({ layers: [content(bytes, mediaTypes.ociLayerGzip)] });
}

function withTar(tar: Uint8Array): TestRoot {
  return bytecodeImage({ layers: [layerOf(tar)] });
}

function withEntries(...entries: readonly TarEntry[]): TestRoot {
  return bytecodeImage({ entries });
}

const onCommandLine = true;

export const archives: readonly HostileCase[] = [
  invalid("10,001 entries", () => withEntries(...emptyFiles(10_000), object), { onCommandLine }),
  invalid("a symbolic link", () => withEntries(object, link("symlink")), { onCommandLine }),
  invalid("a symbolic link in place of the object", () =>
    withEntries({ path: "program.o", type: "symlink", target: "/etc/passwd" }),
  ),
  invalid("a hard link", () => withEntries(object, link("hardlink"))),
  invalid("a character device", () => withEntries(object, { path: "x", type: "character-device" })),
  invalid("a block device", () => withEntries(object, { path: "x", type: "block-device" })),
  invalid("a fifo", () => withEntries(object, { path: "x", type: "fifo" })),
  invalid("a path that begins with ..", () => withEntries({ ...object, path: "../program.o" }), {
    onCommandLine,
  }),
  invalid("a path with .. in the middle", () => withEntries({ ...object, path: "a/../../program.o" })),
  invalid("a path that ends with ..", () => withEntries(object, { path: "a/..", type: "directory" })),
  invalid("a path with .. in a pax header", () => withEntries(pax("path", "../program.o"), object)),
  invalid("an absolute path", () => withEntries({ ...object, path: "/program.o" }), { onCommandLine }),
  invalid("an absolute path in a pax header", () => withEntries(pax("path", "/program.o"), object)),
  invalid("a path with a backslash", () => withEntries({ ...object, path: "..\\program.o" })),
  invalid("a path with control characters", () => withEntries({ ...object, path: "a\u001b[2Jb.o" })),
  invalid("two entries of one name", () => withEntries(object, object), { onCommandLine }),
  invalid("two spellings of one name", () => withEntries(object, { ...object, path: "./program.o" })),
  invalid("a pax header that changes a size", () => withEntries(pax("size", "1"), object)),
  invalid("a size that reaches beyond the archive", () => withEntries({ ...object, size: 1024 * 1024 })),
  invalid("a size that is less than there is", () => withEntries({ ...object, size: 0 })),
  invalid(
    "data after the end marker",
    () => withTar(tarOf([object], { trailing: tarOf([{ ...object, path: "other.o" }]) })),
    {
      onCommandLine,
    },
  ),
  invalid("garbage after the end marker", () =>
    withTar(tarOf([object], { trailing: Buffer.alloc(512, "x") })),
  ),
  invalid("no end marker", () => withTar(tarOf([object], { endMarker: false })), { onCommandLine }),
  invalid("half an end marker", () =>
    withTar(tarOf([object], { endMarker: false, trailing: Buffer.alloc(512) })),
  ),
  invalid("an archive that ends inside a file", () => withTar(tarOf([object]).subarray(0, 700))),
  invalid("gzip that is cut short", () => withLayer(goodLayer.bytes.subarray(0, -20))),
  invalid("gzip with garbage behind it", () =>
    withLayer(Buffer.concat([goodLayer.bytes, Buffer.from("garbage")])),
  ),
  invalid("gzip with a zero byte behind it", () =>
    withLayer(Buffer.concat([goodLayer.bytes, Buffer.alloc(1)])),
  ),
  invalid("a layer that is no archive", () => withLayer(Buffer.from("#!/bin/sh\nrm -rf /\n"))),
  invalid("an empty layer", () => withLayer(Buffer.alloc(0))),
  invalid(
    "a gzip bomb",
    () => withEntries(object, { path: "zeros", bytes: Buffer.alloc(64 * 1024 * 1024) }),
    {
      onCommandLine,
    },
  ),
  invalid(
    "a layer that inflates to more than it may",
    () => withEntries(object, { path: "zeros", bytes: Buffer.alloc(2 * 1024 * 1024) }),
    { limits: { inflatedBytes: 1024 * 1024, inflationRatio: 1_000_000 } },
  ),
  invalid("a gzip of a gzip", () => withLayer(gzip(goodLayer.bytes))),
];

export const objects: readonly HostileCase[] = [
  invalid("an x86 object named .o", () => withObject(minimalBpfElf({ machine: 62 })), { onCommandLine }),
  invalid("an object for no machine", () => withObject(minimalBpfElf({ machine: 0 }))),
  invalid("an eBPF executable", () => withObject(minimalBpfElf({ type: 2 }))),
  invalid("a 32-bit object", () => withObject(patched(4, 1))),
  invalid("a text named .o", () => withObject(Buffer.from("not an object"))),
  invalid("no eBPF object at all", () => withEntries({ path: "README", bytes: Buffer.from("hello") }), {
    onCommandLine,
  }),
  invalid("a layer without files", () => withTar(tarOf([]))),
  invalid("no layers", () => bytecodeImage({ layers: [] })),
  invalid("an object that is cut short", () => withObject(elf.subarray(0, elf.length - 100))),
  invalid("an object of 20 bytes", () => withObject(elf.subarray(0, 20))),
  invalid("an object whose tables lie outside it", () => withObject(patched(40 + 7, 0x7f))),
  invalid("an object over the limit", () => withObject(Buffer.concat([elf, Buffer.alloc(4096)])), {
    limits: { objectBytes: 4096 },
  }),
  {
    what: "a big-endian object asked for on a little-endian host",
    code: "PLATFORM_MISMATCH",
    serve: serving(withObject(minimalBpfElf({ order: "big" }))),
    onCommandLine,
  },
];

export const documents: readonly HostileCase[] = [
  invalid(
    "a manifest over 4 MiB",
    () => bytecodeImage({ annotations: { pad: "x".repeat(4 * 1024 * 1024) } }),
    {
      onCommandLine,
    },
  ),
  invalid("an index over 4 MiB", () =>
    imageIndex([{ image: good }], { annotations: { pad: "x".repeat(4 * 1024 * 1024) } }),
  ),
  invalid(
    "a manifest that is an index too (CVE-2021-41190)",
    () => edited({ editManifest: (manifest) => ({ ...manifest, manifests: [] }) }),
    { onCommandLine },
  ),
  invalid("an index with layers (CVE-2021-41190)", () =>
    imageIndex([{ image: good }], { editIndex: (index) => ({ ...index, layers: [] }) }),
  ),
  invalid("an index with a config (CVE-2021-41190)", () =>
    imageIndex([{ image: good }], { editIndex: (index) => ({ ...index, config: {} }) }),
  ),
  invalid("a manifest that says it is an index (CVE-2021-41190)", () =>
    edited({ editManifest: (manifest) => ({ ...manifest, mediaType: mediaTypes.ociIndex }) }),
  ),
  {
    what: "a manifest that is served as an index (CVE-2021-41190)",
    code: "INVALID_IMAGE",
    serve: (registry) => {
      registry.add(hostileName, good);
      registry.break({ kind: "manifest" }, { headers: { "content-type": mediaTypes.ociIndex } });
    },
  },
  {
    what: "schema 1",
    code: "INVALID_IMAGE",
    serve: serveDocument(
      JSON.stringify({ schemaVersion: 1, name: "org/prog", tag: "v1", fsLayers: [], history: [] }),
      mediaTypes.dockerSchema1Signed,
    ),
    onCommandLine,
  },
  {
    what: "a web page in place of the manifest",
    code: "INVALID_IMAGE",
    serve: serveDocument("<html>Please log in to this network</html>", "text/html"),
  },
  {
    what: "nothing in place of the manifest",
    code: "INVALID_IMAGE",
    serve: serveDocument("", mediaTypes.ociManifest),
  },
  {
    what: "a list in place of the manifest",
    code: "INVALID_IMAGE",
    serve: serveDocument("[]", mediaTypes.ociManifest),
  },
  invalid("a config that is not JSON", () => edited({ editConfig: () => undefined, ...configBytes("{") }), {
    onCommandLine,
  }),
  invalid("a config that is not an object", () => edited({ editConfig: () => "config" })),
  invalid("labels that are not text", () =>
    edited({ editConfig: (config) => ({ ...config, config: { Labels: { "io.ebpf.programs": {} } } }) }),
  ),
  invalid("a label over 64 KiB", () => labelled({ "io.ebpf.programs": paddedTo(64 * 1024 + 1) }), {
    onCommandLine,
  }),
  invalid("a label that is not JSON", () => labelled({ "io.ebpf.programs": "{" })),
  invalid("a label that is a list", () => labelled({ "io.ebpf.maps": "[]" })),
  invalid("a layer with urls of its own", () => layerSaying({ urls: ["https://example.com/layer"] }), {
    onCommandLine,
  }),
  invalid("a layer of a foreign media type", () =>
    layerSaying({ mediaType: "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" }),
  ),
  invalid("a layer that may not be distributed", () =>
    layerSaying({ mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip" }),
  ),
  invalid("a layer that says it has 2^53 - 1 bytes", () => layerSaying({ size: Number.MAX_SAFE_INTEGER }), {
    onCommandLine,
  }),
  invalid("a layer that says it has 10^30 bytes", () => layerSaying({ size: 1e30 })),
  invalid("a layer that says it has less than no bytes", () => layerSaying({ size: -1 })),
  invalid("a layer just over the limit", () => layerSaying({ size: 64 * 1024 * 1024 + 1 })),
  invalid("a config just over the limit", () =>
    edited({ editManifest: (manifest) => withConfig(manifest, { size: 4 * 1024 * 1024 + 1 }) }),
  ),
  invalid("a manifest in an index just over the limit", () => childSaying({ size: 4 * 1024 * 1024 + 1 })),
  invalid("a digest that is a path", () => layerSaying({ digest: "sha256:../../../../etc/passwd" })),
  invalid("a digest of an unknown kind", () => layerSaying({ digest: `md5:${"0".repeat(32)}` })),
  invalid("no digest", () => layerSaying({ digest: undefined })),
  invalid("1,001 layers", () =>
    edited({
      editManifest: (manifest) => ({ ...manifest, layers: Array(1_001).fill(manifest.layers[0]) }),
    }),
  ),
  invalid("an artifact of another kind", () =>
    edited({ editManifest: (manifest) => withConfig(manifest, { mediaType: "application/vnd.cncf.helm" }) }),
  ),
  invalid("another number of diff_ids than of layers", () =>
    diffIds(good.config.digest, good.manifest.digest),
  ),
  {
    what: "a wrong diff_id",
    code: "DIGEST_MISMATCH",
    serve: serving(diffIds(digestOf(Buffer.from("something else")))),
    onCommandLine,
  },
  {
    what: "a layer whose embedded data is something else",
    code: "DIGEST_MISMATCH",
    serve: serving(layerSaying({ data: Buffer.alloc(goodLayer.size).toString("base64") })),
  },
  {
    what: "a layer whose embedded data is longer",
    code: "DIGEST_MISMATCH",
    serve: serving(layerSaying({ data: Buffer.alloc(goodLayer.size + 1).toString("base64") })),
  },
];

export const transfers: readonly HostileCase[] = [
  lie("a layer of other bytes", goodLayer, { body: flipped(goodLayer) }, { onCommandLine }),
  lie("a config of other bytes", good.config, { body: flipped(good.config) }),
  lie("a layer with a byte more", goodLayer, { body: Buffer.concat([goodLayer.bytes, Buffer.alloc(1)]) }),
  lie("a layer with a byte less", goodLayer, { body: goodLayer.bytes.subarray(0, -1) }),
  lie("a layer without a byte", goodLayer, { body: "" }),
  lie("a layer with a byte more, and no length", goodLayer, {
    body: Buffer.concat([goodLayer.bytes, Buffer.alloc(1)]),
    contentLength: "none",
  }),
  lie("a Content-Length that is less than the layer", goodLayer, { contentLength: 10 }),
  {
    what: "a layer that is longer than its descriptor says",
    code: "DIGEST_MISMATCH",
    serve: serving(layerSaying({ size: goodLayer.size - 1 })),
    onCommandLine,
  },
  {
    what: "a layer that is shorter than its descriptor says",
    code: "DIGEST_MISMATCH",
    serve: serving(layerSaying({ size: goodLayer.size + 1 })),
    onCommandLine,
  },
  {
    what: "a manifest that is longer than the index says",
    code: "DIGEST_MISMATCH",
    serve: serving(childSaying({ size: good.manifest.size - 1 })),
  },
  {
    what: "another manifest than the index names",
    code: "DIGEST_MISMATCH",
    serve: (registry) => {
      registry.add(hostileName, imageIndex([{ image: good }]));
      registry.break({ path: good.manifest.digest }, { body: flipped(good.manifest) });
    },
    onCommandLine,
  },
  broken("a manifest that is cut short", "manifest", { truncateAt: 100 }),
  broken("a layer that is cut short", "blob", { truncateAt: 100 }),
  // With some of it there each time, the command line would get it all in the end.
  broken("a layer that is cut short before its first byte", "blob", { truncateAt: 0 }, { onCommandLine }),
  broken("a Content-Length that is more than the manifest", "manifest", { contentLength: 100_000 }),
  broken("a connection that is reset in the middle", "blob", { destroyAt: 100 }),
  broken("a connection that is reset at once", "manifest", { destroyAt: 0 }),
  broken(
    "a body that never ends",
    "blob",
    { stallMs: 60_000 },
    { limits: { bodyTimeoutMs: 50, retries: 0 } },
  ),
  broken(
    "a manifest that redirects to itself",
    "manifest",
    { redirect: "/v2/org/prog/manifests/v1" },
    {
      onCommandLine,
    },
  ),
  {
    what: "a layer that redirects in a circle",
    code: "UNREACHABLE",
    serve: (registry) => {
      registry.add(hostileName, good);
      const [there, back] = ["/v2/org/prog/blobs/there", "/v2/org/prog/blobs/back"];
      registry.break({ path: there }, { redirect: back });
      registry.break({ kind: "blob" }, { redirect: there });
    },
  },
  broken("a redirect to a file", "blob", { redirect: "file:///etc/passwd" }),
  broken("a redirect to nowhere", "blob", { status: 307 }),
  {
    what: "a layer that was compressed on the way",
    code: "INVALID_IMAGE",
    serve: (registry) => {
      registry.add(hostileName, good);
      registry.break({ kind: "blob" }, { headers: { "content-encoding": "gzip" } });
    },
  },
];

function emptyFiles(count: number): TarEntry[] {
  return Array.from({ length: count }, (_, i) => ({ path: `file${i}` }));
}

function link(type: "symlink" | "hardlink"): TarEntry {
  return { path: "link.o", type, target: "program.o" };
}

function pax(key: string, value: string): TarEntry {
  return { path: "PaxHeader/x", type: "pax", bytes: paxRecord(key, value) };
}

function withObject(bytes: Uint8Array): TestRoot {
  return bytecodeImage({ objects: [{ path: "program.o", bytes }] });
}

/** The object with one byte of it changed. */
function patched(at: number, value: number): Buffer {
  const bytes = Buffer.from(elf);
  bytes.writeUInt8(value, at);
  return bytes;
}

function edited(options: ImageOptions): TestRoot {
  return bytecodeImage({ layers: [goodLayer], ...options });
}

/** An image whose config is these bytes. */
function configBytes(text: string): Pick<ImageOptions, "editManifest"> {
  const { digest, size } = content(text, mediaTypes.ociConfig);
  return { editManifest: (manifest) => withConfig(manifest, { digest, size, data: base64(text) }) };
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}

function withConfig<T extends { config: object }>(manifest: T, changes: object): T {
  return { ...manifest, config: { ...manifest.config, ...changes } };
}

function labelled(labels: Readonly<Record<string, string>>): TestRoot {
  return bytecodeImage({ labels });
}

/** JSON of exactly so many bytes. */
export function paddedTo(bytes: number): string {
  return '{"pass":"xdp"}'.padEnd(bytes);
}

/** The good image, whose manifest says something else of its layer. */
function layerSaying(changes: object): TestRoot {
  return edited({
    editManifest: (manifest) => ({
      ...manifest,
      layers: manifest.layers.map((layer) => ({ ...layer, ...changes })),
    }),
  });
}

/** An index over the good image that says something else of it. */
function childSaying(changes: object): TestRoot {
  return imageIndex([{ image: good }], {
    editIndex: (index) => ({
      ...index,
      manifests: index.manifests.map((manifest) => ({ ...manifest, ...changes })),
    }),
  });
}

function diffIds(...digests: readonly string[]): TestRoot {
  return edited({
    editConfig: (config) => ({ ...config, rootfs: { type: "layers", diff_ids: digests } }),
  });
}

function serveDocument(body: string, contentType: string) {
  return (registry: TestRegistry): void => {
    registry.add(hostileName, good);
    registry.break({ kind: "manifest" }, { body, headers: { "content-type": contentType } });
  };
}

/** The good image, of which one part comes as something else. */
function lie(what: string, part: Content, fault: Fault, more: Partial<HostileCase> = {}): HostileCase {
  const serve = (registry: TestRegistry): void => {
    registry.add(hostileName, good);
    registry.break({ path: part.digest }, fault);
  };
  return { what, code: "DIGEST_MISMATCH", serve, ...more };
}

function broken(
  what: string,
  kind: "manifest" | "blob",
  fault: Fault,
  more: Partial<HostileCase> = {},
): HostileCase {
  const serve = (registry: TestRegistry): void => {
    registry.add(hostileName, good);
    registry.break({ kind }, fault);
  };
  return { what, code: "UNREACHABLE", serve, ...more };
}

function flipped({ bytes }: Content): Buffer {
  const other = Buffer.from(bytes);
  other.writeUInt8((other[50] ?? 0) ^ 1, 50);
  return other;
}
