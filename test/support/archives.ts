import { digestOf } from "../../src/core/digest.js";
import { mediaTypes } from "../../src/image/media-types.js";
import { bytecodeImage, type Content, content, type TestImage } from "./image-builder.js";
import { type LayoutEntry, layoutFiles } from "./layout.js";
import { type TarEntry, tarOf } from "./tar.js";

/** An OCI layout as a tar archive, with the directories that GNU tar and skopeo write. */
export function layoutTar(entries: readonly LayoutEntry[], more: readonly TarEntry[] = []): Buffer {
  const files = [...layoutFiles(entries)].map(([path, bytes]) => ({ path, bytes }));
  return tarOf([{ path: "./", type: "directory" }, { path: "blobs/", type: "directory" }, ...files, ...more]);
}

/** One image in Docker's archive. */
export interface SavedImage {
  readonly config: Content;
  /** Layers as the archive has them: tar, or packed by a tool that does so. */
  readonly layers: readonly Uint8Array[];
  readonly tags: readonly string[] | null;
}

/** What `docker save` wrote before version 25, without the files for still older readers. */
export function dockerArchive(images: readonly SavedImage[], more: readonly TarEntry[] = []): Buffer {
  const files = new Map<string, Uint8Array>();
  const rows = images.map(({ config, layers, tags }) => {
    const paths = layers.map((bytes) => `${digestOf(bytes).slice(7)}.tar`);
    for (const [index, path] of paths.entries()) files.set(path, layers[index] ?? Buffer.alloc(0));
    const configPath = `${config.digest.slice(7)}.json`;
    files.set(configPath, config.bytes);
    return { Config: configPath, RepoTags: tags, Layers: paths };
  });
  files.set("manifest.json", Buffer.from(JSON.stringify(rows)));
  const entries = [...files].map(([path, bytes]) => ({ path, bytes }));
  return tarOf([...entries, ...more]);
}

/**
 * An image whose layer is not packed, as it is after a way through Docker's archive, with the manifest that skopeo
 * makes of it (containers/image, docker/internal/tarfile/src.go): Docker's schema 2, members in Go's order.
 */
export function unpackedImage(options: Parameters<typeof bytecodeImage>[0] = {}): TestImage {
  const image = bytecodeImage({ ...options, docker: true, compression: "none" });
  const [layer] = image.layers;
  if (layer === undefined) throw new Error("the image has no layer");
  const inGoOrder = ({ size, digest }: Content, mediaType: string) => ({ mediaType, size, digest });
  const manifest = content(
    JSON.stringify({
      schemaVersion: 2,
      mediaType: mediaTypes.dockerManifest,
      config: inGoOrder(image.config, mediaTypes.dockerConfig),
      layers: [inGoOrder(layer, mediaTypes.dockerLayerGzip)],
    }),
    mediaTypes.dockerManifest,
  );
  return { ...image, root: manifest, manifest, manifests: new Map([[manifest.digest, manifest]]) };
}
