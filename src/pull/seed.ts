import { readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { BpfcacheError, throwIfAborted, toBpfcacheError } from "../core/errors.js";
import { type EventSink, emit } from "../core/events.js";
import type { Limits } from "../core/limits.js";
import type { FileSource } from "../source/layout/file-source.js";
import { parseGivenName } from "../source/layout/names.js";
import { OciLayoutSource } from "../source/oci-layout.js";
import { NoImageFile, type OpenFileOptions, openFile, openStream } from "../source/open-file.js";
import { type BatchResult, type FailedImage, mergeBatches, type Taken } from "./batch.js";

export interface SeedRequest {
  /** Files and directories; `-` is `input`. */
  readonly paths: readonly string[];
  readonly input?: AsyncIterable<Uint8Array> | undefined;
  /** A repository or reference for what has no name of its own. */
  readonly as?: string | undefined;
  readonly limits: Limits;
  /** Where archives are unpacked that cannot be read where they are. */
  readonly directory: string;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: EventSink | undefined;
}

/**
 * Takes in what is at the paths. What cannot be opened is among the failures under its path, and stops nothing else;
 * when it is all there is, it is thrown. Throws USAGE for a malformed name, INTERRUPTED.
 */
export async function seedAll<T extends Taken>(
  request: SeedRequest,
  take: (source: FileSource, references: readonly string[]) => Promise<BatchResult<T>>,
): Promise<BatchResult<T>> {
  const batches: BatchResult<T>[] = [];
  const failures: FailedFind[] = [];
  for await (const find of findSeeds(request)) {
    if ("failure" in find) {
      failures.push(find);
      batches.push({ images: [], failed: [failedImage(find)], lock: {} });
      continue;
    }
    try {
      batches.push(await take(find.source, find.source.references().map(String)));
    } finally {
      await find.source.close();
    }
  }
  const [only] = failures;
  if (only !== undefined && batches.length === 1) throw only.failure;
  for (const find of failures) emit(request.onEvent, { event: "failed", ...failedImage(find) });
  return mergeBatches(batches);
}

/** What there is at a path: images to take in, to be closed by who takes them, or the reason why there are none. */
type SeedFind = { readonly path: string; readonly source: FileSource } | FailedFind;

interface FailedFind {
  readonly path: string;
  readonly failure: BpfcacheError;
}

function failedImage({ path, failure }: FailedFind): FailedImage {
  return { reference: path, code: failure.code, message: failure.message };
}

/**
 * Opens what is to be seeded, one after another. A layout is an image source; any other directory stands for the
 * layouts and files in it, and what is nothing of the kind there is passed over with a warning.
 * Throws USAGE for a malformed name, INTERRUPTED.
 */
async function* findSeeds(request: SeedRequest): AsyncGenerator<SeedFind, void, void> {
  const { as, limits, directory, signal, onEvent } = request;
  const givenName = as === undefined ? undefined : parseGivenName(as);
  const options = { givenName, limits, signal, spoolDirectory: directory };
  for (const path of request.paths) {
    if (path === "-") yield await opened(path, () => openInput(request.input, options));
    else if (await isPlainDirectory(path)) yield* inDirectory(path, options, onEvent);
    else yield await opened(path, () => openPath(path, options));
  }
}

async function* inDirectory(
  directory: string,
  options: OpenFileOptions,
  onEvent: EventSink | undefined,
): AsyncGenerator<SeedFind, void, void> {
  let isEmpty = true;
  for (const name of (await readdir(directory)).sort()) {
    const path = join(directory, name);
    if (await isPlainDirectory(path)) continue;
    const find = await opened(path, () => openPath(path, options));
    if ("failure" in find && find.failure instanceof NoImageFile) {
      emit(onEvent, { event: "warning", message: `passed over: ${find.failure.message}` });
      continue;
    }
    isEmpty = false;
    yield find;
  }
  if (!isEmpty) return;
  const failure = new BpfcacheError(
    "NOT_FOUND",
    `${directory} is no OCI image layout, and there is none in it`,
    {
      hint: "A layout has a file oci-layout. Archives of images and eBPF objects in a directory are found by their contents.",
    },
  );
  yield { path: directory, failure };
}

async function opened(path: string, open: () => Promise<FileSource>): Promise<SeedFind> {
  try {
    return { path, source: await open() };
  } catch (error) {
    const failure = toBpfcacheError(error);
    if (failure.code === "INTERRUPTED") throw failure;
    return { path, failure };
  }
}

async function openPath(path: string, options: OpenFileOptions): Promise<FileSource> {
  throwIfAborted(options.signal);
  return (await isDirectory(path)) ? OciLayoutSource.open(path, options) : openFile(path, options);
}

async function openInput(
  input: AsyncIterable<Uint8Array> | undefined,
  options: OpenFileOptions,
): Promise<FileSource> {
  if (input !== undefined) return openStream(input, "-", options);
  throw new BpfcacheError("USAGE", "- stands for an input, and none was given");
}

async function isPlainDirectory(path: string): Promise<boolean> {
  return (await isDirectory(path)) && !(await exists(join(path, "oci-layout")));
}

async function isDirectory(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isDirectory() === true;
}

async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined)) !== undefined;
}
