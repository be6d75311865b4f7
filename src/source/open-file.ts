import { type FileHandle, open, stat } from "node:fs/promises";
import { basename } from "node:path";
import { BpfcacheError } from "../core/errors.js";
import type { Limits } from "../core/limits.js";
import { parseReference } from "../core/reference.js";
import { compressionOf } from "../image/archive/decompress.js";
import { describeElf, isBpfElf } from "../image/elf/identify.js";
import { defaultObjectName, safeName } from "../image/formats/object-names.js";
import { DockerArchiveSource } from "./docker-archive.js";
import { chunksOf } from "./layout/chunks.js";
import { decompressFile } from "./layout/compression.js";
import type { FileSource } from "./layout/file-source.js";
import type { GivenName } from "./layout/names.js";
import { spool } from "./layout/spool.js";
import { TarFiles } from "./layout/tar-files.js";
import { ObjectFileSource } from "./object-file.js";
import { OciLayoutSource } from "./oci-layout.js";

const headBytes = 512;

export interface OpenFileOptions {
  readonly limits: Limits;
  /** What bare tags, or the one image without a name, are called. */
  readonly givenName?: GivenName | undefined;
  /** Where what is packed or piped is unpacked to, in a file without a name. */
  readonly spoolDirectory: string;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Opens a file with images in it, told by its contents and not by its name: an OCI layout or Docker's archive in a
 * tar, or one eBPF object; each of them may be packed with gzip or zstd, and may be a pipe. Throws NOT_FOUND, USAGE
 * when names are missing, INVALID_IMAGE when it is nothing of the kind or hostile, CACHE_FULL.
 */
export async function openFile(path: string, options: OpenFileOptions): Promise<FileSource> {
  const file = await openForReading(path);
  try {
    const isSeekable = (await file.stat()).isFile();
    const isPacked = isSeekable && compressionOf(await headOf(file)) !== "none";
    if (isSeekable && !isPacked) return await openUnpacked(file, path, basename(path), options);
  } catch (error) {
    await file.close();
    throw error;
  }
  const stream = file.createReadStream();
  try {
    return await openStream(stream, path, options);
  } finally {
    stream.destroy(); // Which closes the file.
  }
}

/** As `openFile`, of bytes that come from elsewhere; `where` is what messages call them. */
export async function openStream(
  input: AsyncIterable<Uint8Array>,
  where: string,
  options: OpenFileOptions,
): Promise<FileSource> {
  const { limits, signal, spoolDirectory } = options;
  const unpacked = decompressFile(input, { what: where, limits, maxBytes: limits.archiveBytes, signal });
  const file = await spool(unpacked, spoolDirectory);
  try {
    const fileName = where === "-" ? "" : basename(where).replace(/\.(?:gz|zst)$/, "");
    return await openUnpacked(file, where, fileName, options);
  } catch (error) {
    await file.close();
    throw error;
  }
}

async function openUnpacked(
  file: FileHandle,
  where: string,
  fileName: string,
  options: OpenFileOptions,
): Promise<FileSource> {
  const head = await headOf(file);
  if (isBpfElf(head)) return openObject(file, where, fileName, options);
  if (head.byteLength === 0) throw new NoImageFile(where, "empty");
  if (compressionOf(head) !== "none") throw new BpfcacheError("INVALID_IMAGE", `${where} is packed twice`);
  if (!looksLikeTar(head)) throw new NoImageFile(where, describeElf(head));
  const files = await TarFiles.open(file, { where, ...options });
  const layout = files.has("oci-layout") ? files : files.below("oci-layout");
  // Docker since version 25 writes a layout with a manifest.json beside it: the layout has the true manifests.
  if (layout !== undefined) return OciLayoutSource.open(layout, options);
  if (files.has("manifest.json")) return DockerArchiveSource.open(files, options);
  throw new NoImageFile(where);
}

async function openObject(
  file: FileHandle,
  where: string,
  fileName: string,
  { givenName, limits, signal }: OpenFileOptions,
): Promise<FileSource> {
  if (givenName === undefined) {
    throw new BpfcacheError("USAGE", `${where} is an eBPF object, which has no name`, {
      hint: "Name it with --as, for example --as quay.io/org/program:v1.",
    });
  }
  const { size } = await file.stat();
  if (size > limits.objectBytes) {
    throw new BpfcacheError("INVALID_IMAGE", `${where} is larger than ${limits.objectBytes} bytes`);
  }
  const chunks: Uint8Array[] = [];
  for await (const chunk of chunksOf(file, 0, size, signal)) chunks.push(chunk);
  await file.close();
  const reference = parseReference(`${givenName.repository}:${givenName.tag ?? "latest"}`);
  return new ObjectFileSource(Buffer.concat(chunks), safeName(fileName) ?? defaultObjectName, reference);
}

async function headOf(file: FileHandle): Promise<Uint8Array> {
  for await (const chunk of chunksOf(file, 0, headBytes, undefined)) return chunk;
  return new Uint8Array();
}

/** By its magic. Tar without one was last written in the eighties. */
function looksLikeTar(head: Uint8Array): boolean {
  return Buffer.from(head.subarray(257, 262)).toString("latin1") === "ustar";
}

async function openForReading(path: string): Promise<FileHandle> {
  try {
    // A symbolic link to an archive is the user's own; what is in the archive is not.
    await stat(path);
    return await open(path, "r");
  } catch (cause) {
    if (cause instanceof Error && "code" in cause && cause.code === "ENOENT")
      throw new BpfcacheError("NOT_FOUND", `there is no ${path}`, { cause });
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BpfcacheError("NOT_FOUND", `cannot read ${path}: ${reason}`, { cause });
  }
}

/** The file is not what images come in. */
export class NoImageFile extends BpfcacheError {
  constructor(
    where: string,
    description = "neither an OCI layout, nor Docker's archive, nor an eBPF object",
  ) {
    super("INVALID_IMAGE", `${where} is ${description}`, {
      hint: "Files with images are written by skopeo copy … oci-archive:FILE, oras backup and docker save.",
    });
  }
}
