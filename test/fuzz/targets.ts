import { gzipSync } from "node:zlib";
import type { ErrorCode } from "../../src/core/errors.js";
import { withLimits } from "../../src/core/limits.js";
import { readLayer } from "../../src/image/archive/layer.js";
import { parseImageConfig } from "../../src/image/config.js";
import { readBpfObject } from "../../src/image/elf/bpf-object.js";
import { setGlobals } from "../../src/image/elf/set-globals.js";
import { readBytecodeLabels } from "../../src/image/labels.js";
import { parseManifest } from "../../src/image/manifest.js";
import { withChecksum } from "../image/archive/tar-builder.js";
import { zstd } from "../support/zstd.js";
import { mutantImage, readImage } from "./images.js";
import { mutate, type Random } from "./mutate.js";
import { mutateJson } from "./mutate-json.js";
import {
  archives,
  btfExts,
  btfs,
  configs,
  gzips,
  manifests,
  type OrderedBytes,
  objectAround,
  objects,
  programLabel,
  vocabulary,
  zstds,
} from "./seeds.js";

/** A reader of hostile input: makes one from numbers, and reads it. */
export interface Target {
  readonly name: string;
  /** Of a hundred mutants, how many are its. */
  readonly share: number;
  /** How it may refuse besides INVALID_IMAGE. */
  readonly codes?: readonly ErrorCode[];
  /** The input, whole: what is written down when it is a finding. */
  make(random: Random): Buffer;
  read(input: Buffer): unknown;
}

/**
 * Smaller than the defaults: inflating 18 MB takes 100 ms by itself, and what is over a limit is seen in the memory that
 * one mutant takes.
 */
const limits = withLimits({ inflatedBytes: 4 * 1024 * 1024, objectBytes: 2 * 1024 * 1024 });

export const targets: readonly Target[] = [
  {
    name: "elf",
    share: 18,
    make: (random) => mutate(pick(objects, random), random, objects),
    read: readBpfObject,
  },
  { name: "btf", share: 16, make: (random) => aroundMutant(btfs, random, objectAround), read: readBpfObject },
  {
    name: "btf.ext",
    share: 3,
    make: (random) =>
      aroundMutant(btfExts, random, (order, bytes) => objectAround(order, plainBtf(order), bytes)),
    read: readBpfObject,
  },
  {
    name: "globals",
    share: 8,
    codes: ["USAGE"],
    make: (random) =>
      random(2) === 0
        ? mutate(pick(objects, random), random, objects)
        : aroundMutant(btfs, random, objectAround),
    read: setSome,
  },
  { name: "tar", share: 12, make: (random) => mutantArchive(random), read: readArchive },
  {
    name: "tar.gz",
    share: 5,
    make: (random) => gzipSync(mutantArchive(random), { level: 1 }),
    read: readArchive,
  },
  { name: "gzip", share: 5, make: (random) => mutate(pick(gzips, random), random, gzips), read: readArchive },
  { name: "zstd", share: 7, make: (random) => mutate(pick(zstds, random), random, zstds), read: readArchive },
  { name: "tar.zst", share: 2, make: (random) => zstd(mutantArchive(random)), read: readArchive },
  {
    name: "manifest",
    share: 8,
    make: (random) => mutateJson(pick(manifests, random), random, vocabulary),
    read: readManifest,
  },
  {
    name: "config",
    share: 4,
    make: (random) => mutateJson(pick(configs, random), random, vocabulary),
    read: parseImageConfig,
  },
  {
    name: "labels",
    share: 4,
    make: (random) => mutateJson(Buffer.from(programLabel), random, vocabulary),
    read: readLabels,
  },
  {
    name: "image",
    share: 8,
    codes: ["DIGEST_MISMATCH", "PLATFORM_MISMATCH"],
    make: mutantImage,
    read: (input) => readImage(input, limits),
  },
];

function pick<T>(all: readonly T[], random: Random): T {
  const one = all[random(all.length)];
  if (one === undefined) throw new Error("there is nothing to choose from");
  return one;
}

function aroundMutant(
  all: readonly OrderedBytes[],
  random: Random,
  build: (byteOrder: OrderedBytes["byteOrder"], bytes: Buffer) => Buffer,
): Buffer {
  const { byteOrder, bytes } = pick(all, random);
  return build(
    byteOrder,
    mutate(
      bytes,
      random,
      all.map((one) => one.bytes),
    ),
  );
}

function plainBtf(byteOrder: OrderedBytes["byteOrder"]): Buffer {
  return btfs.find((one) => one.byteOrder === byteOrder)?.bytes ?? Buffer.alloc(0);
}

/** Half of them with right checksums: a wrong one hides what is behind it. */
function mutantArchive(random: Random): Buffer {
  // The one with many zeros is worth its time now and then only.
  const archive = archives[random(12) === 0 ? 2 : random(2)] ?? Buffer.alloc(0);
  const bytes =
    archive.length > 1_000_000 ? mutateHeaders(archive, random) : mutate(archive, random, archives);
  if (random(2) === 0) return bytes;
  for (let at = 0; at + 512 <= Math.min(bytes.length, 64 * 1024); at += 512) {
    if (bytes.toString("latin1", at + 257, at + 262) === "ustar") withChecksum(bytes.subarray(at, at + 512));
  }
  return bytes;
}

function mutateHeaders(archive: Buffer, random: Random): Buffer {
  const head = mutate(archive.subarray(0, 512), random, []);
  return Buffer.concat([head, archive.subarray(512)]);
}

function readArchive(layer: Buffer): Promise<unknown> {
  return readLayer(layer, { limits, keep: () => true });
}

function readManifest(bytes: Buffer): void {
  const served = [
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "",
    "text/plain; charset=utf-8",
  ];
  const failures = served.map((mediaType) => {
    try {
      return void parseManifest(bytes, mediaType);
    } catch (error) {
      return error;
    }
  });
  // All must fail for the whole to; one that is no refusal at all is never passed over.
  const unexpected = failures.find(
    (failure) => failure !== undefined && !(failure instanceof Error && "code" in failure),
  );
  if (unexpected !== undefined) throw unexpected;
  if (failures.every((failure) => failure !== undefined)) throw failures[0];
}

function readLabels(bytes: Buffer): void {
  const value = bytes.toString("utf8");
  readBytecodeLabels({ "io.ebpf.programs": value, "io.ebpf.maps": programLabel }, limits);
  readBytecodeLabels({ "io.ebpf.program_name": value, "io.ebpf.filename": value }, limits);
}

/** To each variable that it has a value, right or wrong by its type. */
function setSome(bytes: Buffer): void {
  const { globals } = readBpfObject(bytes);
  for (const { name, size } of globals.slice(0, 12)) {
    for (const value of [1, -1n, "PASS", [1, 2], Buffer.alloc(Math.min(size, 1_024))]) {
      try {
        setGlobals(bytes, { [name]: value });
      } catch (error) {
        if (!(error instanceof Error && "code" in error && error.code === "USAGE")) throw error;
      }
    }
  }
}
