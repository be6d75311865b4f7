import { createCipheriv, createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { digestOf } from "../../../src/core/digest.js";
import { mediaTypes } from "../../../src/image/media-types.js";
import {
  bpfmanLabels,
  bytecodeImage,
  content,
  minimalBpfElf,
  type TestImage,
  tarOf,
} from "../../support/image-builder.js";

export interface NamedImage {
  readonly repository: string;
  readonly tag: string;
  readonly image: TestImage;
}

export interface ImageSet {
  readonly count: number;
  /** How many different objects they have; each its own unless given. */
  readonly distinctObjects?: number;
  readonly repositories?: number;
  readonly objectBytes: number;
}

/** Images in bpfman's format, each with a config of its own. The same set is made of the same bytes always. */
export function makeImages({
  count,
  distinctObjects = count,
  repositories = 1,
  objectBytes,
}: ImageSet): NamedImage[] {
  const layers = Array.from({ length: Math.min(count, distinctObjects) }, (_, index) => {
    const program = `program_${index}`;
    const tar = tarOf([{ path: `${program}.o`, bytes: objectOf(program, objectBytes) }]);
    // The tests' level 9 takes twenty times as long for one part in a hundred.
    const layer = content(gzipSync(tar, { level: 6 }), mediaTypes.ociLayerGzip);
    return { program, layer, rootfs: { type: "layers", diff_ids: [digestOf(tar)] } };
  });
  return Array.from({ length: count }, (_, index) => {
    const made = layers[index % layers.length];
    if (made === undefined) throw new Error("an image without an object");
    const { program, layer, rootfs } = made;
    const labels = { ...bpfmanLabels({ [program]: "xdp" }), "org.opencontainers.image.version": `${index}` };
    const tag = `v${Math.floor(index / repositories)}`;
    const repository = `bench/repository-${index % repositories}`;
    const editConfig = (config: Record<string, unknown>): unknown => ({ ...config, rootfs });
    return { repository, tag, image: bytecodeImage({ layers: [layer], labels, editConfig }) };
  });
}

/** An eBPF object of about this size, which compresses to about a half. */
export function objectOf(program: string, bytes: number): Buffer {
  const filling = keystream(program, Math.max(0, bytes - 900));
  for (let index = 0; index < filling.length; index++) if (index % 8 >= 3) filling[index] = 0;
  return minimalBpfElf({ programs: [{ name: program }], sections: [{ name: ".rodata", bytes: filling }] });
}

/** Bytes that look random and are always the same for the same name. */
function keystream(name: string, length: number): Buffer {
  const key = createHash("sha256").update(name).digest();
  return createCipheriv("aes-256-ctr", key, Buffer.alloc(16)).update(Buffer.alloc(length));
}

/** Puts images where Debian's docker-registry keeps them: thousands take a second, without a request. */
export function putIntoStorage(storage: string, images: readonly NamedImage[]): void {
  const root = join(storage, "docker/registry/v2");
  const written = new Set<string>();
  const write = (path: string, content: Uint8Array | string): void => {
    if (written.has(path)) return;
    written.add(path);
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), content);
  };
  for (const { repository, tag, image } of images) {
    const { digest, bytes } = image.manifest;
    const own = `repositories/${repository}`;
    for (const [blob, content] of [...image.blobs, [digest, bytes] as const]) {
      const hex = blob.slice("sha256:".length);
      write(`blobs/sha256/${hex.slice(0, 2)}/${hex}/data`, content);
      if (blob !== digest) write(`${own}/_layers/sha256/${hex}/link`, blob);
    }
    const hex = digest.slice("sha256:".length);
    write(`${own}/_manifests/revisions/sha256/${hex}/link`, digest);
    write(`${own}/_manifests/tags/${tag}/current/link`, digest);
    write(`${own}/_manifests/tags/${tag}/index/sha256/${hex}/link`, digest);
  }
}
