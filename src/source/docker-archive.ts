import { z } from "zod";
import { type Digest, digestOf } from "../core/digest.js";
import { BpfcacheError, throwIfAborted } from "../core/errors.js";
import { defaultLimits, type Limits } from "../core/limits.js";
import type { Reference } from "../core/reference.js";
import { compressionOf } from "../image/archive/decompress.js";
import { parseImageConfig } from "../image/config.js";
import type { Descriptor } from "../image/descriptor.js";
import { mediaTypes } from "../image/media-types.js";
import type { Resolution, ResolveOptions, SourceOptions } from "./image-source.js";
import { once } from "./layout/chunks.js";
import { decompressFile } from "./layout/compression.js";
import type { FileSource } from "./layout/file-source.js";
import { readJson, readWhole } from "./layout/files.js";
import { type GivenName, type ImageWithReference, nameImages } from "./layout/names.js";
import type { TarFiles } from "./layout/tar-files.js";

const imagesSchema = z
  .array(
    z.object({
      Config: z.string().min(1),
      RepoTags: z.array(z.string()).nullish(),
      Layers: z.array(z.string().min(1)).max(1_000).nullish(),
    }),
  )
  .max(100_000);

type ArchivedImage = z.output<typeof imagesSchema>[number];

/** A file that is a config or a layer of an image. */
interface ArchivedBlob {
  readonly path: string;
  readonly isCompressed: boolean;
}

/** The manifest that was made for an image. */
interface MadeManifest {
  readonly descriptor: Descriptor;
  readonly bytes: Buffer;
}

export interface DockerArchiveOptions {
  readonly givenName?: GivenName | undefined;
  readonly limits?: Limits | undefined;
  readonly signal?: AbortSignal | undefined;
}

/**
 * What `docker save`, `podman save` and `skopeo copy … docker-archive:` write: manifest.json, configs and unpacked
 * layers (moby, image/spec/v1.2.md). The format has no manifest that could be pulled, so one is made, byte for byte
 * the one that skopeo makes of it: Docker's schema 2 over the layers as they unpack. The root digest is its digest,
 * which is what `skopeo inspect docker-archive:FILE` prints, and not that of the image in its registry.
 */
export class DockerArchiveSource implements FileSource {
  readonly name = "docker-archive";
  readonly isLocal = true;
  readonly #files: TarFiles;
  readonly #limits: Limits;
  readonly #images: readonly ImageWithReference<ArchivedImage>[];
  readonly #byName: ReadonlyMap<string, ArchivedImage>;
  readonly #made = new Map<ArchivedImage, Promise<MadeManifest>>();
  /** Of the images whose manifests have been made. */
  readonly #manifests = new Map<Digest, MadeManifest>();
  readonly #blobs = new Map<Digest, ArchivedBlob>();

  private constructor(files: TarFiles, limits: Limits, images: readonly ImageWithReference<ArchivedImage>[]) {
    this.#files = files;
    this.#limits = limits;
    this.#images = images;
    this.#byName = new Map(images.map(({ reference, image }) => [reference.toString(), image]));
  }

  /** The files belong to the source from then on. Throws INVALID_IMAGE, USAGE, NOT_FOUND. */
  static async open(files: TarFiles, options: DockerArchiveOptions = {}): Promise<DockerArchiveSource> {
    const { limits = defaultLimits, givenName, signal } = options;
    const json = await readJson(files, "manifest.json", { maxBytes: limits.manifestBytes * 16, signal });
    const result = imagesSchema.safeParse(json);
    if (!result.success) {
      throw new BpfcacheError("INVALID_IMAGE", `the manifest.json of ${files.where} is malformed`);
    }
    const images = result.data.map((image) => ({ names: image.RepoTags ?? [], image }));
    return new DockerArchiveSource(files, limits, nameImages(files.where, images, givenName));
  }

  references(): readonly Reference[] {
    return this.#images.map(({ reference }) => reference);
  }

  async resolve(reference: Reference, { signal, known }: ResolveOptions = {}): Promise<Resolution> {
    throwIfAborted(signal);
    const made = await this.#find(reference);
    if (made === undefined) {
      throw new BpfcacheError("NOT_FOUND", `${this.#files.where} has no such image`, {
        reference: reference.toString(),
      });
    }
    const { descriptor, bytes } = made;
    if (known?.digest === descriptor.digest) return { unchanged: true, bytesFetched: 0 };
    return { unchanged: false, descriptor, bytes };
  }

  async fetch(
    _reference: Reference,
    { digest, size }: Descriptor,
    { signal }: SourceOptions = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    throwIfAborted(signal);
    if (!this.#blobs.has(digest)) await this.#makeAll();
    const made = this.#manifests.get(digest);
    if (made !== undefined) return once(made.bytes.subarray(0, size + 1));
    const blob = this.#blobs.get(digest);
    if (blob === undefined) {
      throw new BpfcacheError("NOT_FOUND", `${this.#files.where} has nothing with the digest ${digest}`);
    }
    if (!blob.isCompressed) return this.#files.read(blob.path, { maxBytes: size + 1, signal });
    return upTo(size + 1, this.#inflated(blob.path, signal));
  }

  async close(): Promise<void> {
    await this.#files.close();
  }

  async #find(reference: Reference): Promise<MadeManifest | undefined> {
    const { digest } = reference;
    if (digest !== undefined) {
      if (!this.#manifests.has(digest)) await this.#makeAll();
      return this.#manifests.get(digest);
    }
    const image = this.#byName.get(reference.toString());
    return image && this.#make(image);
  }

  /** What is wrong with an image matters when that one is asked for. */
  async #makeAll(): Promise<void> {
    for (const { image } of this.#images) await this.#make(image).catch(() => {});
  }

  #make(image: ArchivedImage): Promise<MadeManifest> {
    const making = this.#made.get(image) ?? this.#makeNow(image);
    this.#made.set(image, making);
    return making;
  }

  async #makeNow({ Config, Layers }: ArchivedImage): Promise<MadeManifest> {
    const configPath = this.#path(Config);
    const config = await readWhole(this.#files, configPath, { maxBytes: this.#limits.configBytes });
    const { diffIds } = parseImageConfig(config);
    const paths = Layers ?? [];
    if (paths.length !== diffIds.length) {
      throw new BpfcacheError(
        "INVALID_IMAGE",
        `${this.#files.where}: manifest.json names ${paths.length} layers, the config ${diffIds.length}`,
      );
    }
    const layers: object[] = [];
    for (const [index, digest] of diffIds.entries()) {
      const { size, ...blob } = await this.#layer(this.#path(paths[index] ?? ""));
      this.#blobs.set(digest, blob);
      layers.push({ mediaType: mediaTypes.dockerLayerGzip, size, digest });
    }
    const digest = digestOf(config);
    this.#blobs.set(digest, { path: configPath, isCompressed: false });
    const made = manifestOf({ mediaType: mediaTypes.dockerConfig, size: config.length, digest }, layers);
    this.#manifests.set(made.descriptor.digest, made);
    return made;
  }

  /** Layers that a tool packed all the same are known by what they unpack to, as skopeo has it. */
  async #layer(path: string): Promise<ArchivedBlob & { readonly size: number }> {
    const head = await first(await this.#files.read(path, { maxBytes: 4 }));
    if (compressionOf(head) === "none") {
      return { path, isCompressed: false, size: await this.#files.size(path) };
    }
    let size = 0;
    for await (const chunk of this.#inflated(path, undefined)) size += chunk.byteLength;
    return { path, isCompressed: true, size };
  }

  async *#inflated(path: string, signal: AbortSignal | undefined): AsyncGenerator<Uint8Array, void, void> {
    const { layerBytes, inflatedBytes } = this.#limits;
    const packed = await this.#files.read(path, { maxBytes: layerBytes + 1, signal });
    const options = { what: `${path} in ${this.#files.where}`, limits: this.#limits, signal };
    yield* decompressFile(packed, { ...options, maxBytes: inflatedBytes });
  }

  /** manifest.json is a stranger's text: `./` and doubled slashes mean nothing in it, and nothing leads outside. */
  #path(name: string): string {
    return this.#files.follow(name.replace(/^(?:\.?\/)+/, ""));
  }
}

/** With the members in the order in which Go writes them: the digest is over these bytes. */
function manifestOf(config: object, layers: readonly object[]): MadeManifest {
  const mediaType = mediaTypes.dockerManifest;
  const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType, config, layers }));
  return { bytes, descriptor: { mediaType, digest: digestOf(bytes), size: bytes.length } };
}

async function first(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  for await (const chunk of chunks) return chunk;
  return new Uint8Array();
}

async function* upTo(
  maxBytes: number,
  chunks: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array, void, void> {
  let left = maxBytes;
  for await (const chunk of chunks) {
    yield chunk.subarray(0, left);
    left -= chunk.byteLength;
    if (left <= 0) return;
  }
}
