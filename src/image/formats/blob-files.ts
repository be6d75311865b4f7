import { type Digest, digestOf } from "../../core/digest.js";
import { BpfcacheError } from "../../core/errors.js";
import { compressionOf } from "../archive/decompress.js";
import { inflate } from "../archive/inflate.js";
import { readLayer } from "../archive/layer.js";
import { refusal } from "../archive/refusal.js";
import { readBpfObject } from "../elf/bpf-object.js";
import { describeElf, isBpfElf } from "../elf/identify.js";
import { customSections, isWasm } from "../wasm/custom-sections.js";
import type { ExtractedObject, ExtractOptions, ImageLayer } from "./format.js";
import { defaultObjectName, safeName } from "./object-names.js";

/** A file of a layer, by its path or title. */
export interface FoundFile {
  readonly name: string;
  /** Only of eBPF objects. */
  readonly bytes: Uint8Array | undefined;
  /** As "a 64-bit little-endian x86-64 object"; undefined when nothing is known of such files. */
  readonly description: string | undefined;
}

/** What a blob turned out to hold, whatever its media type says. */
export interface BlobContents {
  readonly kind: "archive" | "file" | "wasm" | "other";
  readonly files: readonly FoundFile[];
  /** The digest of the blob as it unpacks; not known of what was not unpacked. */
  readonly diffId?: Digest | undefined;
}

/** What has no magic number is refused as the malformed archive it must be, or taken for something else. */
export type Expectation = "archive" | "anything";

const headBytes = 512;

/** `ustar` and what stands for it in GNU's format begin here. */
const tarMagicAt = 257;

/** Looks into the blobs of one image, into each once, and bounds what all of them together give. */
export class BlobReader {
  readonly #options: ExtractOptions;
  readonly #known = new Map<string, BlobContents>();
  #objectBytes = 0;

  constructor(options: ExtractOptions) {
    this.#options = options;
  }

  /**
   * An ELF file or a WebAssembly module, which gets `name`, or the files of an archive, raw or compressed. Throws
   * INVALID_IMAGE for an archive or a compression that is malformed or over the limits.
   */
  async read({ descriptor, bytes }: ImageLayer, name: string, expected: Expectation): Promise<BlobContents> {
    const key = `${descriptor.digest} ${name}`;
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    const contents = await readBlob(bytes, name, expected, this.#options);
    this.#known.set(key, contents);
    this.#count(contents);
    return contents;
  }

  /** A manifest of a few kilobytes can name one small blob a thousand times. */
  #count({ files }: BlobContents): void {
    for (const { bytes } of files) this.#objectBytes += bytes?.byteLength ?? 0;
    const { inflatedBytes } = this.#options.limits;
    if (this.#objectBytes > inflatedBytes) {
      throw new BpfcacheError("INVALID_IMAGE", `the image's objects are larger than ${inflatedBytes} bytes`);
    }
  }
}

async function readBlob(
  blob: Uint8Array,
  name: string,
  expected: Expectation,
  options: ExtractOptions,
): Promise<BlobContents> {
  const { objectBytes, layerBytes } = options.limits;
  const isPacked = compressionOf(blob) !== "none";
  const head = isPacked ? await inflated(blob, headBytes, options) : blob.subarray(0, headBytes);
  const description = describeHead(head);
  if (isBpfElf(head)) {
    const bytes = await unpacked(blob, name, objectBytes, options);
    return { kind: "file", diffId: digestOf(bytes), files: [{ name, bytes, description }] };
  }
  if (isWasm(head)) {
    const module = await unpacked(blob, name, layerBytes, options);
    const files = [{ name, bytes: undefined, description }, ...filesInWasm(module, objectBytes)];
    return { kind: "wasm", diffId: digestOf(module), files };
  }
  // A plain ELF file is told as what it is; in an archive's place anything else is a malformed archive.
  const isOtherElf = !isPacked && description !== undefined;
  if (!isOtherElf && (expected === "archive" || hasTarMagic(head))) return readArchive(blob, options);
  const files = [{ name, bytes: undefined, description }];
  return isOtherElf ? { kind: "file", diffId: digestOf(blob), files } : { kind: "other", files };
}

/** Whiteouts (`.wh.name`) say what an overlay hides; whatever is in them, they are no objects. */
export function isWhiteout(path: string): boolean {
  return /(^|\/)\.wh\.[^/]+$/.test(path);
}

export function toObject({ name, bytes = new Uint8Array() }: FoundFile, layer: Digest): ExtractedObject {
  try {
    return { name, layer, digest: digestOf(bytes), bytes, facts: readBpfObject(bytes) };
  } catch (error) {
    if (!(error instanceof BpfcacheError)) throw error;
    throw new BpfcacheError(error.code, `${safeName(name) ?? defaultObjectName}: ${error.message}`, {
      cause: error,
    });
  }
}

/** INVALID_IMAGE that says what is there instead; `what` is such as "the image", `advice` a sentence. */
export function holdsNoObject(what: string, files: readonly FoundFile[], advice?: string): BpfcacheError {
  const named = files.slice(0, 5).map(({ name, description }) => {
    const shown = safeName(name) ?? defaultObjectName;
    return description === undefined ? shown : `${shown} (${description})`;
  });
  const more = files.length > named.length ? ` and ${files.length - named.length} more` : "";
  return new BpfcacheError("INVALID_IMAGE", `${what} holds no eBPF object`, {
    found: named.join(", "),
    hint: [
      named.length === 0 ? "Its layers are empty." : `It holds: ${named.join(", ")}${more}.`,
      ...(advice === undefined ? [] : [advice]),
    ].join(" "),
  });
}

async function readArchive(blob: Uint8Array, options: ExtractOptions): Promise<BlobContents> {
  const { limits, signal } = options;
  const descriptions = new Map<string, string | undefined>();
  const keep = (path: string, head: Uint8Array): boolean => {
    descriptions.set(path, describeHead(head));
    return !isWhiteout(path) && isBpfElf(head);
  };
  const { diffId, files } = await readLayer(blob, { limits, keep, signal });
  return {
    kind: "archive",
    diffId,
    files: files.map(({ path, bytes }) => ({ name: path, bytes, description: descriptions.get(path) })),
  };
}

/** The eBPF objects that stand in a module's custom sections, by the sections' names. */
function filesInWasm(module: Uint8Array, maxBytes: number): FoundFile[] {
  const objects = customSections(module).filter(({ bytes }) => isBpfElf(bytes));
  return objects.map(({ name, bytes }) => {
    if (bytes.byteLength > maxBytes) throw tooBig(name, maxBytes);
    return { name: safeName(name) ?? defaultObjectName, bytes, description: describeElf(bytes) };
  });
}

function tooBig(name: string, maxBytes: number): BpfcacheError {
  return refusal(`${JSON.stringify(name.slice(0, 200))} is larger than ${maxBytes} bytes`);
}

function describeHead(head: Uint8Array): string | undefined {
  return isWasm(head) ? "a WebAssembly module" : describeElf(head);
}

function hasTarMagic(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(tarMagicAt, tarMagicAt + 5)).toString("latin1") === "ustar";
}

/** The whole blob, inflated if need be. Throws INVALID_IMAGE when that is more than `maxBytes`. */
async function unpacked(
  blob: Uint8Array,
  name: string,
  maxBytes: number,
  options: ExtractOptions,
): Promise<Uint8Array> {
  const bytes = compressionOf(blob) !== "none" ? await inflated(blob, maxBytes + 1, options) : blob;
  if (bytes.byteLength > maxBytes) throw tooBig(name, maxBytes);
  return bytes;
}

/** As many of the inflated bytes as there are, up to `maxBytes`. */
async function inflated(
  blob: Uint8Array,
  maxBytes: number,
  { limits, signal }: ExtractOptions,
): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of inflate(blob, limits, signal)) {
    chunks.push(chunk);
    size += chunk.byteLength;
    if (size >= maxBytes) break;
  }
  return Buffer.concat(chunks).subarray(0, maxBytes);
}
