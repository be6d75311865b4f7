import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import type { ByteOrder } from "../../src/core/platform.js";
import { readSections } from "../../src/image/elf/section-table.js";
import { entry, gnuLongName, pax, tar } from "../image/archive/tar-builder.js";
import { sampleFrames, uncheckedFrames } from "../image/archive/zstd/samples.js";
import { BtfBuilder } from "../image/btf/btf-builder.js";
import { buildElf, code, number, programSymbol } from "../image/elf/elf-builder.js";
import { objectWithGlobals } from "../image/elf/globals-sample.js";
import { skippableFrame, zstd } from "../support/zstd.js";
import { vocabularyOf } from "./mutate-json.js";

const examples = fileURLToPath(new URL("../../examples/bpf/objects/", import.meta.url));
const byteOrders: readonly ByteOrder[] = ["little", "big"];

/** What clang compiled, and built ones that have what those lack. */
export const objects: readonly Buffer[] = [
  ...readdirSync(examples)
    .sort()
    .reverse() // Little-endian ones first: the images that are made of them are for amd64.
    .map((name) => readFileSync(`${examples}${name}`)),
  ...byteOrders.flatMap((order) => [
    objectWithGlobals(order),
    objectAround(order, richBtf(order), coreRelocations(order)),
  ]),
];

export interface OrderedBytes {
  readonly byteOrder: ByteOrder;
  readonly bytes: Buffer;
}

export const btfs: readonly OrderedBytes[] = [
  ...byteOrders.map((byteOrder) => ({ byteOrder, bytes: richBtf(byteOrder) })),
  ...objects.flatMap((object) => sectionOf(object, ".BTF")),
];

export const btfExts: readonly OrderedBytes[] = [
  ...byteOrders.map((byteOrder) => ({ byteOrder, bytes: coreRelocations(byteOrder) })),
  ...objects.flatMap((object) => sectionOf(object, ".BTF.ext")),
];

function sectionOf(object: Buffer, wanted: string): OrderedBytes[] {
  return readSections(object)
    .filter(({ name }) => name === wanted)
    .map(({ contents }) => ({
      byteOrder: contents.byteOrder,
      bytes: Buffer.from(contents.bytes(0, contents.length)),
    }));
}

/** Every kind of type, maps defined in each way, and variables in each section. */
function richBtf(byteOrder: ByteOrder): Buffer {
  const btf = new BtfBuilder(byteOrder);
  const int = btf.int("int", 4);
  const char = btf.add(1, "char", 0, 1, (1 << 24) | 8);
  const event = btf.struct("event", 24, [
    ["pid", int],
    ["comm", btf.array(char, 16)],
  ]);
  const typedef = btf.add(8, "event_t", 0, event);
  const wrapped = btf.add(10, "", 0, btf.add(9, "", 0, btf.add(11, "", 0, typedef)));
  btf.add(5, "either", 1, 8, btf.string("a"), int, 0);
  btf.add(7, "declared", 0, 0);
  const prototype = btf.add(13, "", 1, int, btf.string("context"), btf.pointer(0));
  btf.add(12, "pass", 1, prototype);
  btf.add(16, "float", 0, 4);
  btf.add(17, "tag", 0, int, 0xffff_ffff);
  const tagged = btf.add(18, "user", 0, int);
  const mode = btf.add(6, "mode", 1, 4, btf.string("PASS"), 2);
  const wide = btf.add(19, "wide", 1, 8, btf.string("FAR"), 1, 2);
  const inner = btf.struct("", 16, [["type", btf.encoded(2, int)]]);
  const hash = btf.struct("", 32, [
    ["type", btf.encoded(1, int)],
    ["key", btf.pointer(tagged)],
    ["value", btf.pointer(wrapped)],
    ["max_entries", btf.encoded(1_024, int)],
  ]);
  const outer = btf.struct("", 32, [
    ["type", btf.encoded(12, int)],
    ["key_size", btf.encoded(4, int)],
    ["max_entries", btf.encoded(2, int)],
    ["values", btf.array(btf.pointer(inner), 0)],
  ]);
  btf.dataSection(".maps", [btf.variable("events", hash), btf.variable("outer", outer)]);
  btf.dataSection(".rodata", [
    btf.variable("limit", int),
    btf.variable("text", btf.array(btf.array(char, 8), 2)),
    btf.variable("mode", mode),
    btf.variable("wide", wide),
  ]);
  btf.dataSection(".bss", [btf.variable("last", btf.pointer(wrapped))]);
  btf.dataSection(".kconfig", [btf.variable("CONFIG_HZ", int)]);
  return btf.bytes();
}

/** A .BTF.ext whose functions and lines are empty, with relocations of two sections. */
function coreRelocations(byteOrder: ByteOrder): Buffer {
  const words = (...all: number[]): Buffer[] => all.map((word) => number(byteOrder, 4, word));
  const relocations = words(16, 1, 2, 0, 1, 2, 0, 8, 1, 2, 0, 5, 1, 0, 1, 2, 0);
  return Buffer.concat([
    number(byteOrder, 2, 0xeb9f),
    Buffer.from([1, 0]),
    ...words(32, 0, 4, 4, 4, 8, 4 * relocations.length),
    ...words(8, 16),
    ...relocations,
  ]);
}

/** An object with programs, maps and globals, whose BTF is `btf`. */
export function objectAround(byteOrder: ByteOrder, btf: Buffer, btfExt?: Buffer): Buffer {
  const legacy = [1, 4, 8, 16, 0].map((field) => number(byteOrder, 4, field));
  return buildElf({
    byteOrder,
    sections: [
      code("xdp", 32),
      code("?fentry.s/do_unlinkat", 24),
      code(".text", 8),
      { name: "license", flags: 3, bytes: Buffer.from("GPL\0") },
      { name: ".maps", flags: 3, bytes: Buffer.alloc(64) },
      { name: "maps", flags: 3, bytes: Buffer.concat(legacy) },
      { name: ".rodata", flags: 2, bytes: Buffer.alloc(64) },
      { name: ".bss", type: 8, flags: 3, size: 8 },
      { name: ".BTF", bytes: btf },
      ...(btfExt === undefined ? [] : [{ name: ".BTF.ext", bytes: btfExt }]),
    ],
    symbols: [
      programSymbol("pass", "xdp", 0, 16),
      programSymbol("drop", "xdp", 16, 16),
      programSymbol("entered", "?fentry.s/do_unlinkat", 0, 24),
      { name: "events", section: ".maps", size: 32 },
      { name: "outer", section: ".maps", offset: 32, size: 32 },
      { name: "old", section: "maps", size: 20 },
      { name: "limit", section: ".rodata", size: 4 },
      { name: "text", section: ".rodata", offset: 8, size: 16 },
      { name: "mode", section: ".rodata", offset: 24, size: 4 },
      { name: "wide", section: ".rodata", offset: 32, size: 8 },
      { name: "last", section: ".bss", size: 8 },
      { name: "CONFIG_HZ", type: 0 },
    ],
  });
}

const [firstObject = Buffer.alloc(0), secondObject = Buffer.alloc(0)] = objects;

export const archives: readonly Buffer[] = [
  tar(entry("xdp.o", firstObject)),
  tar(
    entry("bpf/", "", { type: "5" }),
    gnuLongName("l".repeat(150)),
    entry("cut", "1"),
    pax([
      ["path", `${"p/".repeat(60)}x`],
      ["mtime", "1.5"],
    ]),
    entry("cut", secondObject),
    pax([["comment", "all"]], "g"),
    entry("./readme", "text"),
  ),
  // What compresses so well that the limits on inflating are within reach.
  tar(entry("zeros", Buffer.alloc(1_500_000)), entry("xdp.o", firstObject)),
];

export const gzips: readonly Buffer[] = [
  ...archives.map((archive) => gzipSync(archive)),
  Buffer.concat(
    archives
      .slice(0, 1)
      .flatMap((archive) => [gzipSync(archive.subarray(0, 600)), gzipSync(archive.subarray(600))]),
  ),
];

/** Frames of each kind: packed hard, in blocks that build on each other, not packed, several with others between. */
export const zstds: readonly Buffer[] = [
  ...sampleFrames,
  ...uncheckedFrames,
  zstd(archives[1] ?? Buffer.alloc(0)),
  Buffer.concat([
    skippableFrame(Buffer.from("skipped")),
    ...archives
      .slice(0, 1)
      .flatMap((archive) => [zstd(archive.subarray(0, 600)), zstd(archive.subarray(600))]),
    skippableFrame(Buffer.alloc(30), 3),
  ]),
];

const digest = (digit: string): string => `sha256:${digit.repeat(64)}`;
const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar+gzip", digest: digest("b"), size: 700 };
const json = (document: unknown): Buffer => Buffer.from(JSON.stringify(document));

export const manifests: readonly Buffer[] = [
  json({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: { mediaType: "application/vnd.oci.image.config.v1+json", digest: digest("a"), size: 300 },
    layers: [layer],
    annotations: { "org.opencontainers.image.title": "xdp.o" },
  }),
  json({
    schemaVersion: 2,
    mediaType: "application/vnd.docker.distribution.manifest.v2+json",
    config: { mediaType: "application/vnd.docker.container.image.v1+json", digest: digest("a"), size: 300 },
    layers: [{ ...layer, mediaType: "application/vnd.docker.image.rootfs.diff.tar.gzip" }, layer],
  }),
  json({
    schemaVersion: 2,
    artifactType: "application/vnd.gadget.v1+binary",
    config: { mediaType: "application/vnd.gadget.config.v1+yaml", digest: digest("a"), size: 300 },
    layers: [{ mediaType: "application/vnd.gadget.ebpf.program.v1+binary", digest: digest("b"), size: 700 }],
    subject: { mediaType: "application/vnd.oci.image.manifest.v1+json", digest: digest("c"), size: 9 },
  }),
  json({
    schemaVersion: 2,
    config: { mediaType: "application/vnd.oci.empty.v1+json", digest: digest("a"), size: 2, data: "e30=" },
    layers: [
      {
        mediaType: "application/octet-stream",
        digest: digest("b"),
        size: 700,
        annotations: { "org.opencontainers.image.title": "xdp.o" },
        urls: ["https://example.org/"],
      },
    ],
  }),
  json({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.index.v1+json",
    manifests: ["amd64", "arm64", "unknown"].map((architecture) => ({
      mediaType: "application/vnd.oci.image.manifest.v1+json",
      digest: digest("d"),
      size: 400,
      platform: { os: "linux", architecture, variant: "v8" },
      annotations: { "vnd.docker.reference.type": "attestation-manifest" },
    })),
  }),
];

export const programLabel = JSON.stringify({ xdp_pass: "xdp", count: "tracepoint" });

export const configs: readonly Buffer[] = [
  json({
    os: "linux",
    architecture: "amd64",
    variant: "v1",
    config: {
      Labels: { "io.ebpf.programs": programLabel, "io.ebpf.maps": JSON.stringify({ stats: "hash" }) },
    },
    rootfs: { type: "layers", diff_ids: [] },
    history: [{ created: "2024-01-01T00:00:00Z", created_by: "COPY" }],
  }),
  json({
    os: "linux",
    architecture: "arm64",
    config: {
      Labels: { "io.ebpf.filename": "xdp.o", "io.ebpf.program_name": "pass", "io.ebpf.program_type": "xdp" },
    },
    rootfs: { type: "layers", diff_ids: [digest("e")] },
  }),
];

/** What a document may have anywhere: other types, odd numbers, names that JavaScript gives a meaning, deep nesting. */
export const vocabulary = vocabularyOf([
  ..."{}[]:,".split(""),
  ..."null true false 0 -1 1 2 1e308 -0 1.5 9007199254740993 1e999".split(" "),
  '""',
  '"\\u0000"',
  '"\\ud800"',
  '"\u202e"',
  '"__proto__"',
  '"constructor"',
  '"toString"',
  '"schemaVersion"',
  '"mediaType"',
  '"config"',
  '"layers"',
  '"manifests"',
  '"fsLayers"',
  '"subject"',
  '"annotations"',
  '"platform"',
  '"urls"',
  '"data"',
  '"Labels"',
  '"rootfs"',
  '"diff_ids"',
  '"io.ebpf.programs"',
  '"application/vnd.oci.image.index.v1+json"',
  '"application/vnd.docker.distribution.manifest.v1+prettyjws"',
  JSON.stringify(digest("f")),
  '"sha512:00"',
  `"${"x".repeat(70_000)}"`,
  `${"[".repeat(20_000)}${"]".repeat(20_000)}`,
  `${'{"a":'.repeat(5_000)}1${"}".repeat(5_000)}`,
]);
