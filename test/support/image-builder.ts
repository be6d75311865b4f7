import { type Digest, digestOf } from "../../src/core/digest.js";
import { type Platform, parsePlatform } from "../../src/core/platform.js";
import { mediaTypes } from "../../src/image/media-types.js";
import { minimalBpfElf } from "./bpf-elf.js";
import { gzip, type TarEntry, tarOf } from "./tar.js";

// One import for tests, whichever file a fixture is made in.
export { minimalBpfElf } from "./bpf-elf.js";
export { writeLayout } from "./layout.js";
export { gzip, paxRecord, type TarEntry, tarOf } from "./tar.js";

/** A manifest, config or layer: bytes with what a descriptor says of them. */
export interface Content {
  readonly bytes: Buffer;
  readonly digest: Digest;
  readonly mediaType: string;
  readonly size: number;
}

/** A descriptor on its way into a JSON document: anything may be missing from it or wrong. */
export type LooseDescriptor = Record<string, unknown>;

/** What a reference can name. Both maps hold all that is reachable; tests may add to or damage what is in them. */
interface Stored {
  /** The document that a tag names: its digest is the root digest. */
  readonly root: Content;
  readonly manifests: Map<string, Content>;
  readonly blobs: Map<string, Buffer>;
}

export interface TestImage extends Stored {
  readonly kind: "image";
  /** The same as `root`. */
  readonly manifest: Content;
  readonly config: Content;
  readonly layers: readonly Content[];
  readonly platform: Platform;
}

export interface TestIndex extends Stored {
  readonly kind: "index";
  readonly children: readonly TestRoot[];
}

export type TestRoot = TestImage | TestIndex;

export interface ImageOptions {
  /** Files at the root of the one layer. Default: `program.o`, a generated object with the program `pass`. */
  readonly objects?: readonly { readonly path: string; readonly bytes: Uint8Array }[];
  /** Tar entries instead of `objects`, for layers that no builder would write. */
  readonly entries?: readonly TarEntry[];
  /** Layers as a registry would have them, instead of `objects` and `entries`. */
  readonly layers?: readonly Content[];
  /** Default: bpfman's labels for one xdp program `pass` and no maps. */
  readonly labels?: Readonly<Record<string, string>>;
  /** `os/arch[/variant]`; default linux/amd64. */
  readonly platform?: string;
  /** Docker's schema 2 media types instead of OCI's. */
  readonly docker?: boolean;
  readonly compression?: "gzip" | "none";
  readonly annotations?: Readonly<Record<string, string>>;
  /** The config's JSON just before it is written: change it, or return something else. */
  readonly editConfig?: (config: Record<string, unknown>) => unknown;
  /** The manifest's JSON just before it is written: change it, or return something else. */
  readonly editManifest?: (manifest: ManifestJson) => unknown;
}

export interface ManifestJson extends Record<string, unknown> {
  config: LooseDescriptor;
  layers: LooseDescriptor[];
}

export interface IndexJson extends Record<string, unknown> {
  manifests: LooseDescriptor[];
}

/** An image in bpfman's format: one tar+gzip layer with eBPF objects at its root, labels in the config. */
export function bytecodeImage(options: ImageOptions = {}): TestImage {
  const { docker = false, compression = "gzip" } = options;
  const platform = parsePlatform(options.platform ?? "linux/amd64");
  const objects = options.objects ?? [{ path: "program.o", bytes: minimalBpfElf() }];
  const tar = tarOf(options.entries ?? objects);
  const layers = options.layers ?? [layerOf(tar, { docker, compression })];
  const labels = options.labels ?? bpfmanLabels({ pass: "xdp" });

  const configJson = {
    architecture: platform.architecture,
    os: platform.os,
    ...(platform.variant === undefined ? {} : { variant: platform.variant }),
    config: { Labels: labels },
    rootfs: { type: "layers", diff_ids: options.layers === undefined ? [digestOf(tar)] : [] },
  };
  const config = json(
    options.editConfig?.(configJson) ?? configJson,
    docker ? mediaTypes.dockerConfig : mediaTypes.ociConfig,
  );

  const mediaType = docker ? mediaTypes.dockerManifest : mediaTypes.ociManifest;
  const manifestJson: ManifestJson = {
    schemaVersion: 2,
    mediaType,
    config: descriptorOf(config),
    layers: layers.map(descriptorOf),
    ...(options.annotations === undefined ? {} : { annotations: options.annotations }),
  };
  const manifest = json(options.editManifest?.(manifestJson) ?? manifestJson, mediaType);
  return {
    kind: "image",
    root: manifest,
    manifest,
    config,
    layers,
    platform,
    manifests: new Map([[manifest.digest, manifest]]),
    blobs: new Map([config, ...layers].map(({ digest, bytes }) => [digest, bytes])),
  };
}

export interface IndexEntry {
  readonly image: TestRoot;
  /** `os/arch[/variant]`; default the image's own. An empty string leaves the platform out. */
  readonly platform?: string;
  readonly annotations?: Readonly<Record<string, string>>;
}

export interface IndexOptions {
  readonly docker?: boolean;
  readonly annotations?: Readonly<Record<string, string>>;
  /** The index's JSON just before it is written: change it, or return something else. */
  readonly editIndex?: (index: IndexJson) => unknown;
}

/** An OCI image index or Docker manifest list over images, or over further indexes. */
export function imageIndex(entries: readonly IndexEntry[], options: IndexOptions = {}): TestIndex {
  const mediaType = options.docker ? mediaTypes.dockerList : mediaTypes.ociIndex;
  const indexJson: IndexJson = {
    schemaVersion: 2,
    mediaType,
    manifests: entries.map(indexEntry),
    ...(options.annotations === undefined ? {} : { annotations: options.annotations }),
  };
  const root = json(options.editIndex?.(indexJson) ?? indexJson, mediaType);
  const children = entries.map(({ image }) => image);
  return {
    kind: "index",
    root,
    children,
    manifests: new Map([[root.digest, root], ...children.flatMap((child) => [...child.manifests])]),
    blobs: new Map(children.flatMap((child) => [...child.blobs])),
  };
}

function indexEntry({ image, platform, annotations }: IndexEntry): LooseDescriptor {
  const named = platform === undefined && image.kind === "image" ? image.platform : platform;
  return {
    ...descriptorOf(image.root),
    ...(named ? { platform: typeof named === "string" ? parsePlatform(named) : named } : {}),
    ...(annotations === undefined ? {} : { annotations }),
  };
}

/** bpfman's labels: function names and map names with their types, each as JSON in a string. */
export function bpfmanLabels(
  programs: Readonly<Record<string, string>>,
  maps: Readonly<Record<string, string>> = {},
): Record<string, string> {
  return { "io.ebpf.programs": JSON.stringify(programs), "io.ebpf.maps": JSON.stringify(maps) };
}

export function layerOf(
  tar: Uint8Array,
  { docker = false, compression = "gzip" }: Pick<ImageOptions, "docker" | "compression"> = {},
): Content {
  if (compression === "none") return content(tar, mediaTypes.ociLayerTar);
  return content(gzip(tar), docker ? mediaTypes.dockerLayerGzip : mediaTypes.ociLayerGzip);
}

/** Bytes with a digest and size that are right, unless told otherwise. */
export function content(
  bytes: Uint8Array | string,
  mediaType: string,
  lie: { readonly digest?: Digest; readonly size?: number } = {},
): Content {
  const buffer = Buffer.from(bytes);
  return {
    bytes: buffer,
    mediaType,
    digest: lie.digest ?? digestOf(buffer),
    size: lie.size ?? buffer.byteLength,
  };
}

function json(value: unknown, mediaType: string): Content {
  return content(JSON.stringify(value), mediaType);
}

export function descriptorOf({ mediaType, digest, size }: Content): LooseDescriptor {
  return { mediaType, digest, size };
}
