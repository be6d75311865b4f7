import { gzipSync } from "node:zlib";
import { pack } from "tar-stream";
import { type Digest, digestOf } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { byteOrderOf, formatPlatform, type Platform } from "../core/platform.js";
import type { Descriptor } from "./descriptor.js";
import { type BpfObject, readBpfObject } from "./elf/bpf-object.js";
import { writeBytecodeLabels } from "./labels.js";
import { mediaTypes } from "./media-types.js";

/** An object file and the platform its image is for. */
export interface BuildInput {
  /** Its name in the image. */
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly platform: Platform;
}

export interface BuiltImage {
  /** What the reference will name: the manifest, or the index over several. */
  readonly root: Descriptor;
  /** Every document and blob by its digest. */
  readonly content: ReadonlyMap<Digest, Buffer>;
}

const unixEpochMs = 0;
/** The gzip header's operating system: 255 is "unknown" (RFC 1952), so that every host writes the same. */
const gzipSystem = { offset: 9, unknown: 255 };

/**
 * Makes a bytecode image as bpfman specifies it (docs/developer-guide/shipping-bytecode.md): one gzipped tar layer with
 * the object at its root, and labels that say its programs and maps, taken from its ELF. Several objects make an
 * index with an image for each platform. Nothing in it depends on time or host, so the same objects make the same
 * digests. Throws INVALID_IMAGE for what is no eBPF object or has no program, PLATFORM_MISMATCH for an object in
 * another byte order than its platform's, USAGE for two objects of one platform.
 */
export async function buildImage(inputs: readonly BuildInput[]): Promise<BuiltImage> {
  if (inputs.length === 0) throw new BpfcacheError("USAGE", "there is no object to make an image of");
  const content = new Map<Digest, Buffer>();
  requireDistinctPlatforms(inputs);
  const images: Descriptor[] = [];
  for (const input of inputs) images.push(await buildOne(input, content));
  const [only] = images;
  if (images.length === 1 && only !== undefined) {
    const { platform: _, ...root } = only;
    return { root, content };
  }
  const index = { schemaVersion: 2, mediaType: mediaTypes.ociIndex, manifests: images };
  return { root: addJson(content, mediaTypes.ociIndex, index), content };
}

async function buildOne(input: BuildInput, content: Map<Digest, Buffer>): Promise<Descriptor> {
  const { platform } = input;
  const facts = factsOf(input);
  const tar = await tarOf(input);
  const gzipped = gzipSync(tar, { level: 9 });
  gzipped[gzipSystem.offset] = gzipSystem.unknown;
  const { os, architecture, variant } = platform;
  const config = addJson(content, mediaTypes.ociConfig, {
    architecture,
    os,
    ...(variant === undefined ? {} : { variant }),
    config: { Labels: writeBytecodeLabels(facts) },
    rootfs: { type: "layers", diff_ids: [digestOf(tar)] },
  });
  const layer = add(content, mediaTypes.ociLayerGzip, gzipped);
  const manifest = { schemaVersion: 2, mediaType: mediaTypes.ociManifest, config, layers: [layer] };
  return { ...addJson(content, mediaTypes.ociManifest, manifest), platform };
}

function factsOf({ name, bytes, platform }: BuildInput): BpfObject {
  let facts: BpfObject;
  try {
    facts = readBpfObject(bytes);
  } catch (error) {
    if (!(error instanceof BpfcacheError)) throw error;
    throw new BpfcacheError(error.code, `${name}: ${error.message}`, { cause: error });
  }
  if (facts.byteOrder !== byteOrderOf(platform)) {
    throw new BpfcacheError(
      "PLATFORM_MISMATCH",
      `${name} is ${facts.byteOrder}-endian, ${formatPlatform(platform)} is ${byteOrderOf(platform)}-endian`,
      { expected: byteOrderOf(platform), found: facts.byteOrder },
    );
  }
  if (facts.programs.length === 0) throw new BpfcacheError("INVALID_IMAGE", `${name} has no program`);
  return facts;
}

function requireDistinctPlatforms(inputs: readonly BuildInput[]): void {
  const seen = new Set<string>();
  for (const { platform, name } of inputs) {
    const text = formatPlatform(platform);
    if (seen.has(text)) {
      throw new BpfcacheError("USAGE", `${name} is a second object for ${text}`, {
        hint: "Say which platform each is for, such as linux/arm64=prog.o.",
      });
    }
    seen.add(text);
  }
}

async function tarOf({ name, bytes }: BuildInput): Promise<Buffer> {
  const archive = pack();
  archive.entry({ name, mode: 0o644, mtime: new Date(unixEpochMs), uid: 0, gid: 0 }, Buffer.from(bytes));
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

function addJson(content: Map<Digest, Buffer>, mediaType: string, document: object): Descriptor {
  return add(content, mediaType, Buffer.from(JSON.stringify(document)));
}

function add(content: Map<Digest, Buffer>, mediaType: string, bytes: Buffer): Descriptor {
  const digest = digestOf(bytes);
  content.set(digest, bytes);
  return { mediaType, digest, size: bytes.length };
}
