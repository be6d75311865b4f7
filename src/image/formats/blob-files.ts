import { type Digest, digestOf } from "../../core/digest.js";
import { BpfcacheError } from "../../core/errors.js";
import { inflate } from "../archive/inflate.js";
import { readLayer } from "../archive/layer.js";
import { refusal } from "../archive/refusal.js";
import { readBpfObject } from "../elf/bpf-object.js";
import { describeElf, isBpfElf } from "../elf/identify.js";
import { customSections, isWasm } from "../wasm/custom-sections.js";
import type { ExtractedObject, ExtractOptions } from "./format.js";
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
  /** The digest of the blob unpacked; only of an archive or a file. */
  readonly diffId?: Digest | undefined;
}

export interface ReadBlobOptions extends ExtractOptions {
  /** What a file is called that is the whole blob. */
  readonly name: string;
  /** What is no file is an archive, or refused as the malformed one it must be. */
  readonly expectsArchive?: boolean | undefined;
}

const headBytes = 512;

/** `ustar` and what stands for it in GNU's format begin here. */
const tarMagicAt = 257;

/**
 * Looks into a blob: an ELF file or a WebAssembly module, raw or compressed, or an archive. Throws INVALID_IMAGE for
 * an archive or a compression that is malformed or over the limits.
 */
export async function readBlob(blob: Uint8Array, options: ReadBlobOptions): Promise<BlobContents> {
  const { name } = options;
  const isPacked = isCompressed(blob);
  const head = isPacked ? await inflated(blob, headBytes, options) : blob.subarray(0, headBytes);
  const description = describeHead(head);
  if (isBpfElf(head)) {
    const { objectBytes } = options.limits;
    const bytes = await unpacked(blob, objectBytes, options);
    return { kind: "file", diffId: digestOf(bytes), files: [{ name, bytes, description }] };
  }
  if (isWasm(head)) {
    const module = await unpacked(blob, options.limits.layerBytes, options);
    return { kind: "wasm", files: [{ name, bytes: undefined, description }, ...filesInWasm(module)] };
  }
  if (options.expectsArchive === true || hasTarMagic(head)) {
    // A plain ELF file is told as what it is; in an archive's place anything else is a malformed archive.
    if (!isPacked && description !== undefined) return { kind: "file", ...onlyDescribed(name, description) };
    return readArchive(blob, options);
  }
  return { kind: "other", ...onlyDescribed(name, description) };
}

/** Whiteouts (`.wh.name`) say what an overlay hides; whatever is in them, they are no objects. */
export function isWhiteout(path: string): boolean {
  return (path.split("/").at(-1) ?? "").startsWith(".wh.");
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

/** INVALID_IMAGE that says what is there instead; `what` is such as "the image". */
export function holdsNoObject(what: string, files: readonly FoundFile[]): BpfcacheError {
  const named = files.slice(0, 5).map(({ name, description }) => {
    const shown = safeName(name) ?? defaultObjectName;
    return description === undefined ? shown : `${shown} (${description})`;
  });
  const more = files.length > named.length ? ` and ${files.length - named.length} more` : "";
  return new BpfcacheError("INVALID_IMAGE", `${what} holds no eBPF object`, {
    found: named.join(", "),
    hint: named.length === 0 ? "Its layers are empty." : `It holds: ${named.join(", ")}${more}.`,
  });
}

async function readArchive(blob: Uint8Array, options: ReadBlobOptions): Promise<BlobContents> {
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

function filesInWasm(module: Uint8Array): FoundFile[] {
  return customSections(module)
    .filter(({ bytes }) => isBpfElf(bytes))
    .map(({ name, bytes }) => ({
      name: safeName(name) ?? defaultObjectName,
      bytes: new Uint8Array(bytes),
      description: describeElf(bytes),
    }));
}

function onlyDescribed(name: string, description: string | undefined): Pick<BlobContents, "files"> {
  return { files: [{ name, bytes: undefined, description }] };
}

function describeHead(head: Uint8Array): string | undefined {
  return isWasm(head) ? "a WebAssembly module" : describeElf(head);
}

function isCompressed(blob: Uint8Array): boolean {
  const isGzip = blob[0] === 0x1f && blob[1] === 0x8b;
  return isGzip || (blob[0] === 0x28 && blob[1] === 0xb5 && blob[2] === 0x2f && blob[3] === 0xfd);
}

function hasTarMagic(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(tarMagicAt, tarMagicAt + 5)).toString("latin1") === "ustar";
}

/** The whole blob, inflated if need be. Throws INVALID_IMAGE when that is more than `maxBytes`. */
async function unpacked(blob: Uint8Array, maxBytes: number, options: ReadBlobOptions): Promise<Uint8Array> {
  const bytes = isCompressed(blob) ? await inflated(blob, maxBytes + 1, options) : blob;
  if (bytes.byteLength > maxBytes)
    throw refusal(`${JSON.stringify(options.name)} is larger than ${maxBytes} bytes`);
  return bytes;
}

/** As many of the inflated bytes as there are, up to `maxBytes`. */
async function inflated(blob: Uint8Array, maxBytes: number, options: ReadBlobOptions): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of inflate(blob, options.limits, options.signal)) {
    chunks.push(chunk);
    size += chunk.byteLength;
    if (size >= maxBytes) break;
  }
  return Buffer.concat(chunks).subarray(0, maxBytes);
}
