import { type Digest, digestOf } from "../core/digest.js";
import { BpfcacheError, throwIfAborted } from "../core/errors.js";
import type { Reference } from "../core/reference.js";
import type { Descriptor } from "../image/descriptor.js";
import { mediaTypes } from "../image/media-types.js";
import type { Resolution, ResolveOptions, SourceOptions } from "./image-source.js";
import { once } from "./layout/chunks.js";
import type { FileSource } from "./layout/file-source.js";

/** Says in `inspect`, and to whom the image is served, what it is. */
const artifactType = "application/vnd.bpfcache.object.v1";

/**
 * An eBPF object as the only layer of an image, in the form in which `oras push` makes one of a file. The same bytes
 * under the same file name always give the same digests; the object digest is the layer's.
 */
export class ObjectFileSource implements FileSource {
  readonly name = "object-file";
  readonly isLocal = true;
  readonly #reference: Reference;
  readonly #contents: ReadonlyMap<Digest, Buffer>;
  readonly #manifest: Descriptor;

  constructor(object: Buffer, fileName: string, reference: Reference) {
    const config = Buffer.from("{}");
    const layer = {
      ...descriptorOf("application/octet-stream", object),
      annotations: { "org.opencontainers.image.title": fileName },
    };
    const manifest = Buffer.from(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: mediaTypes.ociManifest,
        artifactType,
        config: descriptorOf(mediaTypes.ociEmpty, config),
        layers: [layer],
      }),
    );
    this.#reference = reference;
    this.#manifest = descriptorOf(mediaTypes.ociManifest, manifest);
    this.#contents = new Map([config, object, manifest].map((bytes) => [digestOf(bytes), bytes]));
  }

  references(): readonly Reference[] {
    return [this.#reference];
  }

  async resolve(reference: Reference, { signal, known }: ResolveOptions = {}): Promise<Resolution> {
    throwIfAborted(signal);
    const { digest } = this.#manifest;
    const isHere =
      reference.digest === undefined
        ? reference.toString() === this.#reference.toString()
        : reference.digest === digest;
    if (!isHere) {
      throw new BpfcacheError("NOT_FOUND", "the object file is no such image", {
        reference: reference.toString(),
      });
    }
    if (known?.digest === digest) return { unchanged: true, bytesFetched: 0 };
    return { unchanged: false, descriptor: this.#manifest, bytes: this.#content(digest) };
  }

  async fetch(
    _reference: Reference,
    { digest, size }: Descriptor,
    { signal }: SourceOptions = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    throwIfAborted(signal);
    return once(this.#content(digest).subarray(0, size + 1));
  }

  async close(): Promise<void> {
    // There is nothing open.
  }

  #content(digest: Digest): Buffer {
    const bytes = this.#contents.get(digest);
    if (bytes !== undefined) return bytes;
    throw new BpfcacheError("NOT_FOUND", `the object file has nothing with the digest ${digest}`);
  }
}

function descriptorOf(mediaType: string, bytes: Buffer): Descriptor {
  return { mediaType, digest: digestOf(bytes), size: bytes.length };
}
