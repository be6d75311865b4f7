import { type Digest, digestAlgorithm, digestHex, verifyDigest } from "../core/digest.js";
import { BpfcacheError, throwIfAborted } from "../core/errors.js";
import { defaultLimits, type Limits } from "../core/limits.js";
import type { Reference } from "../core/reference.js";
import type { Descriptor } from "../image/descriptor.js";
import { type ManifestDocument, parseManifest } from "../image/manifest.js";
import { indexMediaTypes } from "../image/media-types.js";
import type { Referrer, Resolution, ResolveOptions, SourceOptions } from "./image-source.js";
import { DirectoryFiles } from "./layout/directory-files.js";
import type { FileSource } from "./layout/file-source.js";
import { type Files, readWhole } from "./layout/files.js";
import { type LayoutIndex, mayBeImage, nameOf, readLayoutIndex } from "./layout/layout-index.js";
import { LayoutReferrers } from "./layout/layout-referrers.js";
import { type GivenName, type ImageWithReference, type NamelyImage, nameImages } from "./layout/names.js";

export interface LayoutOptions {
  /** What bare tags, or the one image without a name, are called. */
  readonly givenName?: GivenName | undefined;
  readonly limits?: Limits | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** An OCI image layout (image-spec, image-layout.md), in a directory or in a tar archive, as a source. */
export class OciLayoutSource implements FileSource {
  readonly name = "layout";
  readonly isLocal = true;
  readonly #files: Files;
  readonly #limits: Limits;
  readonly #images: readonly ImageWithReference<Descriptor>[];
  readonly #byName: ReadonlyMap<string, Descriptor>;
  readonly #byDigest: ReadonlyMap<Digest, Descriptor>;
  readonly #referrers: LayoutReferrers;

  private constructor(
    files: Files,
    limits: Limits,
    index: LayoutIndex,
    images: readonly ImageWithReference<Descriptor>[],
  ) {
    this.#files = files;
    this.#limits = limits;
    this.#images = images;
    this.#byName = new Map(images.map(({ reference, image }) => [reference.toString(), image]));
    this.#byDigest = new Map(images.map(({ image }) => [image.digest, image]));
    this.#referrers = new LayoutReferrers(index, (entry) => manifestOrNothing(files, entry, limits));
  }

  /**
   * The files belong to the source from then on. Throws NOT_FOUND when they are no layout or name no image,
   * INVALID_IMAGE when the index is malformed, USAGE when names are missing or malformed.
   */
  static async open(from: string | Files, options: LayoutOptions = {}): Promise<OciLayoutSource> {
    const { limits = defaultLimits, givenName, signal } = options;
    const files = typeof from === "string" ? new DirectoryFiles(from) : from;
    const index = await readLayoutIndex(files, { maxBytes: limits.manifestBytes * 16, signal });
    const images = nameImages(files.where, await imagesIn(index, files, limits), givenName);
    return new OciLayoutSource(files, limits, index, images);
  }

  references(): readonly Reference[] {
    return this.#images.map(({ reference }) => reference);
  }

  async resolve(reference: Reference, options: ResolveOptions = {}): Promise<Resolution> {
    const { signal, known } = options;
    throwIfAborted(signal);
    const { digest } = reference;
    const descriptor =
      digest === undefined ? this.#byName.get(reference.toString()) : this.#byDigest.get(digest);
    if (descriptor !== undefined && known?.digest === descriptor.digest)
      return { unchanged: true, bytesFetched: 0 };
    const wanted = descriptor?.digest ?? digest;
    if (wanted === undefined) {
      throw new BpfcacheError("NOT_FOUND", `the layout ${this.#files.where} has no such image`, {
        reference: reference.toString(),
      });
    }
    const bytes = await readWhole(this.#files, blobPath(wanted), {
      maxBytes: this.#limits.manifestBytes,
      signal,
    });
    verifyDigest(bytes, wanted, "the manifest in the layout");
    // A digest may also name a child of an index; what kind of document that is, it says itself.
    const mediaType = descriptor?.mediaType ?? parseManifest(bytes, "application/json").mediaType;
    return {
      unchanged: false,
      descriptor: { ...descriptor, mediaType, digest: wanted, size: bytes.length },
      bytes,
    };
  }

  async fetch(
    _reference: Reference,
    { digest, size }: Descriptor,
    { signal }: SourceOptions = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    throwIfAborted(signal);
    try {
      return await this.#files.read(blobPath(digest), { maxBytes: size + 1, signal });
    } catch (error) {
      throw isNotFound(error) ? lacking(digest, error) : error;
    }
  }

  /** What the layout has that is about a manifest: see `LayoutReferrers`. */
  async referrers(
    _reference: Reference,
    subject: Digest,
    { signal }: SourceOptions = {},
  ): Promise<readonly Referrer[]> {
    throwIfAborted(signal);
    return this.#referrers.list(subject);
  }

  async close(): Promise<void> {
    await this.#files.close();
  }
}

function isNotFound(error: unknown): boolean {
  return error instanceof BpfcacheError && error.code === "NOT_FOUND";
}

/** An export since an earlier one leaves out what that one has, and what was cached for some platforms has only those. */
function lacking(digest: Digest, cause: unknown): BpfcacheError {
  const message = `the layout lacks ${digest}, and it is not cached either; of an update the base is to be seeded first`;
  return new BpfcacheError("NOT_FOUND", message, { cause });
}

function blobPath(digest: Digest): string {
  return `blobs/${digestAlgorithm(digest)}/${digestHex(digest)}`;
}

/** The images that have names; where none has, those that are no part of another. */
async function imagesIn(
  index: LayoutIndex,
  files: Files,
  limits: Limits,
): Promise<readonly NamelyImage<Descriptor>[]> {
  const images = new Map(index.filter(mayBeImage).map((entry) => [entry.digest, entry]));
  const named = index.filter(mayBeImage).flatMap((entry) => {
    const name = nameOf(entry);
    return name === undefined ? [] : [{ names: [name], image: images.get(entry.digest) ?? entry }];
  });
  if (named.length > 0) return named;
  const parts = new Set<Digest>();
  for (const entry of images.size < 2 ? [] : images.values()) {
    if (!indexMediaTypes.has(entry.mediaType)) continue;
    const document = await manifestOrNothing(files, entry, limits);
    if (document?.kind === "index") for (const { digest } of document.manifests) parts.add(digest);
  }
  const roots = [...images.values()].filter(({ digest }) => !parts.has(digest));
  return roots.map((image) => ({ names: [], image }));
}

/** A document in the layout; nothing when it is missing or malformed, which matters only when it is pulled. */
async function manifestOrNothing(
  files: Files,
  { digest, mediaType }: Descriptor,
  { manifestBytes }: Limits,
): Promise<ManifestDocument | undefined> {
  try {
    const bytes = await readWhole(files, blobPath(digest), { maxBytes: manifestBytes });
    verifyDigest(bytes, digest, "the manifest in the layout");
    return parseManifest(bytes, mediaType);
  } catch (error) {
    if (error instanceof BpfcacheError) return undefined;
    throw error;
  }
}
