import { type Digest, digestHex, digestOf, verifyDigest } from "../core/digest.js";
import { BpfcacheError, throwIfAborted } from "../core/errors.js";
import { parseReference } from "../core/reference.js";
import { inflate } from "../image/archive/inflate.js";
import { parseImageConfig } from "../image/config.js";
import { containerFormat } from "../image/formats/container.js";
import { type ImageManifest, parseManifest } from "../image/manifest.js";
import type { FailedImage } from "../pull/batch.js";
import { manifestDigestOf, type RootRecord } from "../store/records.js";
import type { Bundled, BundleRequest, ExportedImage } from "./bundle.js";
import type { ImageClosure } from "./closure.js";
import { requireBlob, requireManifest } from "./content.js";
import type { SelectedImage } from "./selection.js";

/** One entry of the archive's manifest.json. */
interface ArchivedImage {
  readonly Config: string;
  readonly RepoTags: readonly string[];
  readonly Layers: readonly string[];
}

/**
 * Writes what `docker save` makes and `docker load` takes: configs as they are, layers as plain tar files named by
 * their diff ids, and manifest.json. It has neither indexes nor signatures, a name in it means one platform, and only
 * container images have the config it needs: what cannot be said in it is in `failed`.
 */
export async function bundleDockerArchive(request: BundleRequest): Promise<Bundled> {
  const images: ExportedImage[] = [];
  const failed: FailedImage[] = [];
  const archived: ArchivedImage[] = [];
  const written = new Set<string>();
  for (const closure of request.closures) {
    throwIfAborted(request.signal);
    const { reference, rootDigest } = closure.image;
    const container = asContainer(request, closure);
    if (container instanceof BpfcacheError) {
      failed.push({ reference, code: container.code, message: container.message });
      continue;
    }
    const archive = new ImageArchive(request, closure.image, written);
    archived.push(await archive.add(container));
    const { platform } = container.row;
    images.push({ reference, rootDigest, platforms: [platform], bytes: archive.bytes, missing: [] });
  }
  if (archived.length > 0) await request.write("manifest.json", Buffer.from(`${JSON.stringify(archived)}\n`));
  return { images, failed };
}

interface Container {
  readonly row: RootRecord;
  readonly manifest: ImageManifest;
  readonly config: Buffer;
  readonly diffIds: readonly Digest[];
}

/** The image as the archive can have it, or why it cannot. Nothing has been written by then. */
function asContainer({ store }: BundleRequest, { image, rows }: ImageClosure): Container | BpfcacheError {
  const { reference } = image;
  const [only, ...others] = rows;
  if (only === undefined || others.length > 0) {
    const names = rows.map(({ row }) => row.platform).join(", ");
    return new BpfcacheError("USAGE", `a docker-archive has one platform of an image, not ${names}`);
  }
  const { row } = only;
  const { mediaType, bytes } = requireManifest(store, manifestDigestOf(row), reference);
  const manifest = parseManifest(bytes, mediaType);
  if (manifest.kind !== "manifest" || !containerFormat.recognizes(manifest)) {
    return new BpfcacheError(
      "INVALID_IMAGE",
      "a docker-archive holds container images only, and this is an artifact",
    );
  }
  const config = requireBlob(store, "config", manifest.config.digest, reference);
  const { diffIds } = parseImageConfig(config);
  if (diffIds.length !== manifest.layers.length) {
    return new BpfcacheError(
      "INVALID_IMAGE",
      `a docker-archive needs a config that names the ${manifest.layers.length} layers; this one names ${diffIds.length}`,
    );
  }
  return { row, manifest, config, diffIds };
}

/** One image going into the archive; what it shares with others is written once. */
class ImageArchive {
  readonly #request: BundleRequest;
  readonly #image: SelectedImage;
  readonly #written: Set<string>;
  bytes = 0;

  constructor(request: BundleRequest, image: SelectedImage, written: Set<string>) {
    this.#request = request;
    this.#image = image;
    this.#written = written;
  }

  async add({ manifest, config, diffIds }: Container): Promise<ArchivedImage> {
    // How large layers are unpacked is known when they are: what is told of is the image as it is cached.
    const packed = [manifest.config, ...manifest.layers].map(({ size }) => size);
    const total = packed.reduce((sum, size) => sum + size, 0);
    let done = manifest.config.size;
    this.#request.onImage(this.#image, 0, total);
    const configName = `${digestHex(digestOf(config))}.json`;
    await this.#write(configName, () => config);
    const layers: string[] = [];
    for (const [index, { digest, size }] of manifest.layers.entries()) {
      const diffId = diffIds[index] ?? digest;
      const name = `${digestHex(diffId)}.tar`;
      await this.#write(name, () => this.#unpacked(digest, diffId));
      layers.push(name);
      done += size;
      this.#request.onImage(this.#image, done, total);
    }
    const { name, tag } = parseReference(this.#image.reference);
    return { Config: configName, RepoTags: tag === undefined ? [] : [`${name}:${tag}`], Layers: layers };
  }

  async #write(name: string, content: () => Uint8Array | Promise<Uint8Array>): Promise<void> {
    if (this.#written.has(name)) return;
    this.#written.add(name);
    const bytes = await content();
    this.bytes += bytes.byteLength;
    await this.#request.write(name, bytes);
  }

  /** A tar header comes before the content and has its size, so a layer is unpacked whole, within the limits. */
  async #unpacked(layer: Digest, diffId: Digest): Promise<Buffer> {
    const { store, limits, signal } = this.#request;
    const chunks: Uint8Array[] = [];
    const packed = requireBlob(store, "layer", layer, this.#image.reference);
    for await (const chunk of inflate(packed, limits, signal)) chunks.push(chunk);
    const tar = Buffer.concat(chunks);
    verifyDigest(tar, diffId, `the layer ${layer}, unpacked`);
    return tar;
  }
}
