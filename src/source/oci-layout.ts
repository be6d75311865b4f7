import { constants } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { type Digest, digestAlgorithm, digestHex, verifyDigest } from "../core/digest.js";
import { BpfcacheError, throwIfAborted } from "../core/errors.js";
import { defaultLimits, type Limits } from "../core/limits.js";
import { parseReference, type Reference } from "../core/reference.js";
import { annotationsSchema, type Descriptor, descriptorSchema } from "../image/descriptor.js";
import { parseManifest } from "../image/manifest.js";
import type { ImageSource, Resolution, ResolveOptions, SourceOptions } from "./image-source.js";

const chunkBytes = 256 * 1024;

const indexSchema = z.object({
  schemaVersion: z.literal(2),
  manifests: z.array(descriptorSchema).max(100_000),
  annotations: annotationsSchema,
});

/** An image that a layout's index names. */
export interface LayoutEntry {
  readonly reference: Reference;
  readonly descriptor: Descriptor;
}

export interface LayoutOptions {
  /** The repository that bare tags belong to, as `host/path`; without it they have no reference. */
  readonly repository?: string | undefined;
  readonly limits?: Limits | undefined;
}

/**
 * A directory in the OCI image layout (image-spec, image-layout.md) as a source. Blobs must be regular files: a
 * planted symbolic link is not followed (go-containerregistry#2306).
 */
export class OciLayoutSource implements ImageSource {
  readonly name = "layout";
  readonly isLocal = true;
  readonly #directory: string;
  readonly #limits: Limits;
  readonly #entries: readonly LayoutEntry[];
  /** Tags without a repository. */
  readonly bareTags: readonly string[];

  private constructor(directory: string, limits: Limits, index: LayoutIndex) {
    this.#directory = directory;
    this.#limits = limits;
    this.#entries = index.entries;
    this.bareTags = index.bareTags;
  }

  /** Throws NOT_FOUND when the directory is no layout, INVALID_IMAGE when its index is malformed. */
  static async open(directory: string, options: LayoutOptions = {}): Promise<OciLayoutSource> {
    const limits = options.limits ?? defaultLimits;
    await requireLayout(directory);
    const bytes = await readWhole(join(directory, "index.json"), limits.manifestBytes * 16);
    return new OciLayoutSource(directory, limits, readIndex(bytes, options.repository));
  }

  /** Every image that has a reference, in the index's order. */
  list(): readonly LayoutEntry[] {
    return this.#entries;
  }

  async resolve(reference: Reference, options: ResolveOptions = {}): Promise<Resolution> {
    throwIfAborted(options.signal);
    const descriptor = await this.#descriptorOf(reference);
    if (options.known?.digest === descriptor.digest) return { unchanged: true, bytesFetched: 0 };
    const bytes = await readWhole(this.#blobPath(descriptor.digest), this.#limits.manifestBytes);
    verifyDigest(bytes, descriptor.digest, "the manifest in the layout");
    return { unchanged: false, descriptor: { ...descriptor, size: bytes.length }, bytes };
  }

  async fetch(
    _reference: Reference,
    descriptor: Descriptor,
    options: SourceOptions = {},
  ): Promise<AsyncIterable<Uint8Array>> {
    throwIfAborted(options.signal);
    const file = await openRegular(this.#blobPath(descriptor.digest));
    return chunksOf(file, descriptor.size + 1, options.signal);
  }

  async close(): Promise<void> {
    // Every file is closed when its reading ends.
  }

  async #descriptorOf(reference: Reference): Promise<Descriptor> {
    const { digest } = reference;
    const entry = this.#entries.find((candidate) =>
      digest === undefined
        ? candidate.reference.toString() === reference.toString()
        : candidate.descriptor.digest === digest,
    );
    if (entry !== undefined) return entry.descriptor;
    if (digest === undefined) {
      throw new BpfcacheError("NOT_FOUND", `the layout ${this.#directory} has no such image`, {
        reference: reference.toString(),
      });
    }
    // A digest may also name a child of an index; what kind of document it is, it says itself.
    const bytes = await readWhole(this.#blobPath(digest), this.#limits.manifestBytes);
    const { mediaType } = parseManifest(bytes, "application/json");
    return { mediaType, digest, size: bytes.length };
  }

  #blobPath(digest: Digest): string {
    return join(this.#directory, "blobs", digestAlgorithm(digest), digestHex(digest));
  }
}

interface LayoutIndex {
  readonly entries: readonly LayoutEntry[];
  readonly bareTags: readonly string[];
}

async function requireLayout(directory: string): Promise<void> {
  let marker: Buffer;
  try {
    marker = await readWhole(join(directory, "oci-layout"), 64 * 1024);
  } catch (cause) {
    throw new BpfcacheError(
      "NOT_FOUND",
      `${directory} is not an OCI image layout: it has no readable oci-layout file`,
      {
        cause,
      },
    );
  }
  if (!/"imageLayoutVersion"\s*:\s*"1\.\d+\.\d+"/.test(marker.toString())) {
    throw new BpfcacheError(
      "INVALID_IMAGE",
      `${directory}/oci-layout names no layout version that bpfcache knows`,
    );
  }
}

function readIndex(bytes: Buffer, repository: string | undefined): LayoutIndex {
  let json: unknown;
  try {
    json = JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw new BpfcacheError("INVALID_IMAGE", "the layout's index.json is not JSON", { cause });
  }
  const result = indexSchema.safeParse(json);
  if (!result.success) throw new BpfcacheError("INVALID_IMAGE", "the layout's index.json is malformed");
  const entries: LayoutEntry[] = [];
  const bareTags: string[] = [];
  for (const descriptor of result.data.manifests) {
    const name = nameOf(descriptor);
    if (name === undefined || isStatementTag(name)) continue; // Untagged: a child of an index, or a referrer.
    if (name.includes("/")) entries.push({ reference: parseReference(name), descriptor });
    else if (repository === undefined) bareTags.push(name);
    else entries.push({ reference: parseReference(`${repository}:${name}`), descriptor });
  }
  return { entries, bareTags };
}

/** cosign's and the referrers fall-back's tags: what they name belongs to an image and is none. */
function isStatementTag(name: string): boolean {
  return /(?:^|:)sha(?:256|512)-[0-9a-f]{32,128}(?:\.(?:sig|att|sbom))?$/.test(name);
}

/** containerd writes whole references beside the specification's own annotation, which it uses for the bare tag. */
function nameOf({ annotations }: Descriptor): string | undefined {
  return annotations?.["io.containerd.image.name"] ?? annotations?.["org.opencontainers.image.ref.name"];
}

async function openRegular(path: string): Promise<FileHandle> {
  let file: FileHandle;
  try {
    file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause ? cause.code : undefined;
    if (code === "ENOENT") throw new BpfcacheError("NOT_FOUND", `${path} does not exist`, { cause });
    if (code === "ELOOP") throw new BpfcacheError("INVALID_IMAGE", `${path} is a symbolic link`, { cause });
    throw new BpfcacheError(
      "NOT_FOUND",
      `cannot read ${path}: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    );
  }
  if ((await file.stat()).isFile()) return file;
  await file.close();
  throw new BpfcacheError("INVALID_IMAGE", `${path} is not a regular file`);
}

async function readWhole(path: string, maxBytes: number): Promise<Buffer> {
  const file = await openRegular(path);
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of chunksOf(file, maxBytes + 1, undefined)) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
  }
  if (bytes > maxBytes) throw new BpfcacheError("INVALID_IMAGE", `${path} is longer than ${maxBytes} bytes`);
  return Buffer.concat(chunks);
}

async function* chunksOf(
  file: FileHandle,
  maxBytes: number,
  signal: AbortSignal | undefined,
): AsyncGenerator<Uint8Array> {
  try {
    for (let left = maxBytes; left > 0; ) {
      throwIfAborted(signal);
      const { bytesRead, buffer } = await file.read(Buffer.allocUnsafe(Math.min(chunkBytes, left)));
      if (bytesRead === 0) return;
      left -= bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}
