import { BpfcacheError } from "../../core/errors.js";

export interface ReadOptions {
  /** No more than this is given out, however long the file is. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * The files of a layout or an archive, by their paths in it, with forward slashes: a directory or a tar archive.
 * Only regular files are read, and nothing leads out of it.
 */
export interface Files {
  /** What messages call it: the path that the user gave. */
  readonly where: string;
  /** Throws NOT_FOUND, or INVALID_IMAGE for what is no regular file. */
  size(path: string): Promise<number>;
  /** The file's bytes as they come. Ending the iteration early releases the file. Throws as `size`. */
  read(path: string, options: ReadOptions): Promise<AsyncIterable<Uint8Array>>;
  close(): Promise<void>;
}

/** All bytes of a file. Throws INVALID_IMAGE when there are more than `maxBytes`, and what `Files` throws. */
export async function readWhole(
  files: Files,
  path: string,
  { maxBytes, signal }: ReadOptions,
): Promise<Buffer> {
  const chunks: Uint8Array[] = [];
  let bytes = 0;
  for await (const chunk of await files.read(path, { maxBytes: maxBytes + 1, signal })) {
    chunks.push(chunk);
    bytes += chunk.byteLength;
  }
  if (bytes <= maxBytes) return Buffer.concat(chunks);
  throw new BpfcacheError("INVALID_IMAGE", `${path} in ${files.where} is longer than ${maxBytes} bytes`);
}

/** JSON of a file that an archive or a layout must have. Throws INVALID_IMAGE, and what `Files` throws. */
export async function readJson(files: Files, path: string, options: ReadOptions): Promise<unknown> {
  const bytes = await readWhole(files, path, options);
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch (cause) {
    throw new BpfcacheError("INVALID_IMAGE", `${path} in ${files.where} is not JSON`, { cause });
  }
}
