import { resolve } from "node:path";
import type { Writable } from "node:stream";
import { BpfcacheError, toBpfcacheError } from "../core/errors.js";
import { type EventSink, emit } from "../core/events.js";
import type { Limits } from "../core/limits.js";
import { formatPlatform } from "../core/platform.js";
import type { FailedImage } from "../pull/batch.js";
import type { Store } from "../store/store.js";
import type { Bundled, BundleRequest, ExportedImage, ExportFormat } from "./bundle.js";
import type { BundleSink } from "./bundle-sink.js";
import { closureOf, type ImageClosure } from "./closure.js";
import { DirectorySink } from "./directory-sink.js";
import { bundleDockerArchive } from "./docker-archive.js";
import { bundleLayout } from "./layout-bundle.js";
import { type ExportLock, encodeLock, lockOf, readLock } from "./lock.js";
import { bundleObjectFiles } from "./object-files.js";
import { compare, type SelectedImage, type SelectionRequest, selectImages } from "./selection.js";
import { TarFileSink, TarStreamSink } from "./tar-sinks.js";
import { lockName, requireWritable, writeFileWhole } from "./target.js";
import { writeFailure } from "./write-failure.js";

export interface ExportRequest extends SelectionRequest {
  /** A path, or a stream that a tar archive goes into. */
  readonly output: string | Writable;
  readonly format: ExportFormat | undefined;
  /** Where the lock goes besides into the bundle; beside a path by default. */
  readonly lockFile: string | undefined;
  /** The lock of an earlier export that the other side has taken in. */
  readonly since: string | undefined;
  readonly mayOverwrite: boolean;
  readonly limits: Limits;
  readonly signal: AbortSignal | undefined;
  readonly onEvent: EventSink | undefined;
}

/** What an export made: the JSON document `export`. */
export interface ExportResult {
  /** The path, or `-` for a stream. */
  readonly output: string;
  readonly format: ExportFormat;
  readonly images: readonly ExportedImage[];
  readonly failed: readonly FailedImage[];
  /** Each reference with its root digest. */
  readonly lock: Readonly<Record<string, string>>;
  /** Of all files in it. */
  readonly bytes: number;
}

const bundlers: Readonly<Record<ExportFormat, (request: BundleRequest) => Promise<Bundled>>> = {
  "oci-dir": bundleLayout,
  "oci-archive": bundleLayout,
  "docker-archive": bundleDockerArchive,
  files: bundleObjectFiles,
};

/**
 * Writes cached images out of the store. The bundle is complete before anything stands at its path, and the same
 * images give the same bytes. An image that cannot be exported is in `failed`; when none can, that is thrown.
 */
export async function exportImages(store: Store, request: ExportRequest): Promise<ExportResult> {
  const format = formatOf(request);
  const base = request.since === undefined ? undefined : await readLock(request.since);
  const lockFile = lockFileOf(request);
  if (lockFile !== undefined) requireWritable(lockFile, "file", request.mayOverwrite);
  const selection = selectImages(store, request);
  const images = format === "docker-archive" ? selection.images.map(forDocker(request)) : selection.images;
  const { closures, failed } = closuresOf(store, images);
  failed.push(...selection.failed);
  requireSome(closures, failed);
  emit(request.onEvent, { event: "batch", images: closures.length + failed.length });
  const sink = openSink(request, format);
  try {
    const { bundled, lock, bytes } = await fill(store, { ...request, sink, format, base, closures });
    failed.push(...bundled.failed);
    requireSome(bundled.images, failed);
    await sink.commit();
    if (lockFile !== undefined) await writeFileWhole(lockFile, encodeLock(lock));
    const result = {
      output: typeof request.output === "string" ? request.output : "-",
      format,
      images: bundled.images,
      failed: failed.sort((a, b) => compare(a.reference, b.reference)),
      lock: Object.fromEntries(bundled.images.map(({ reference, rootDigest }) => [reference, rootDigest])),
      bytes,
    };
    announce(result, request.onEvent);
    return result;
  } catch (error) {
    await sink.abandon();
    throw typeof request.output === "string" ? writeFailure(error, request.output) : error;
  }
}

interface Filling extends ExportRequest {
  readonly sink: BundleSink;
  readonly format: ExportFormat;
  readonly base: ExportLock | undefined;
  readonly closures: readonly ImageClosure[];
}

/** Everything into the sink, the lock last: it says what has become of the images. */
async function fill(
  store: Store,
  { sink, format, base, closures, limits, signal, onEvent }: Filling,
): Promise<{ bundled: Bundled; lock: ExportLock; bytes: number }> {
  let bytes = 0;
  const write = async (path: string, content: Uint8Array): Promise<void> => {
    await sink.write(path, content);
    bytes += content.byteLength;
    emit(onEvent, { event: "exporting", path, bytes });
  };
  const bundled = await bundlers[format]({
    store,
    closures,
    lock: lockOf(closures),
    base,
    limits,
    signal,
    write,
    onImage: ({ reference, rootDigest }, done, total) =>
      emit(onEvent, { event: "bundling", reference, digest: rootDigest, bytes: done, total }),
  });
  const exported = new Set(bundled.images.map(({ reference }) => reference));
  const lock = lockOf(closures.filter(({ image }) => exported.has(image.reference)));
  await write(lockName, encodeLock(lock));
  return { bundled, lock, bytes };
}

function closuresOf(
  store: Store,
  images: readonly SelectedImage[],
): { closures: ImageClosure[]; failed: FailedImage[] } {
  const closures: ImageClosure[] = [];
  const failed: FailedImage[] = [];
  for (const image of images) {
    try {
      closures.push(closureOf(store, image));
    } catch (thrown) {
      const { code, message } = toBpfcacheError(thrown);
      if (code !== "NOT_CACHED") throw thrown;
      failed.push({ reference: image.reference, code, message });
    }
  }
  return { closures, failed };
}

/** Nothing at all to export is a failure as a whole, and leaves nothing behind. */
function requireSome(images: readonly unknown[], failed: readonly FailedImage[]): void {
  if (images.length > 0) return;
  const [first] = failed;
  if (first === undefined) throw new BpfcacheError("NOT_CACHED", "the cache has nothing to export");
  throw new BpfcacheError(first.code, first.message, {
    reference: first.reference,
    hint: "Nothing was exported.",
  });
}

/** A name in a docker-archive means one platform: unless others are asked for, the one that is meant everywhere else. */
function forDocker({
  platforms,
  defaultPlatform,
}: SelectionRequest): (image: SelectedImage) => SelectedImage {
  return (image) => {
    const own = image.platforms.filter(({ platform }) => platform === formatPlatform(defaultPlatform));
    return platforms === undefined && own.length > 0 ? { ...image, platforms: own } : image;
  };
}

function formatOf({ output, format, since }: ExportRequest): ExportFormat {
  const isTar = typeof output !== "string" || output.endsWith(".tar");
  const chosen = format ?? (isTar ? "oci-archive" : "oci-dir");
  if (chosen === "oci-dir" && typeof output !== "string") {
    throw new BpfcacheError("USAGE", "a directory cannot be written to a stream", { hint: "Name a path." });
  }
  if (since !== undefined && chosen !== "oci-dir" && chosen !== "oci-archive") {
    throw new BpfcacheError("USAGE", `the format ${chosen} cannot leave out what an earlier export has`, {
      hint: "Use oci-dir or oci-archive.",
    });
  }
  return chosen;
}

function lockFileOf({ output, lockFile }: ExportRequest): string | undefined {
  if (lockFile !== undefined) return resolve(lockFile);
  return typeof output === "string" ? `${resolve(output)}.lock.json` : undefined;
}

function openSink({ output, mayOverwrite }: ExportRequest, format: ExportFormat): BundleSink {
  if (typeof output !== "string") return new TarStreamSink(output);
  const path = resolve(output);
  const isDirectory = format === "oci-dir" || (format === "files" && !output.endsWith(".tar"));
  return isDirectory ? new DirectorySink(path, mayOverwrite) : new TarFileSink(path, mayOverwrite);
}

function announce({ images, failed }: ExportResult, onEvent: EventSink | undefined): void {
  for (const { reference, rootDigest, bytes } of images) {
    emit(onEvent, { event: "exported", reference, digest: rootDigest, bytes });
  }
  for (const { reference, code, message } of failed) {
    emit(onEvent, { event: "failed", reference, code, message });
  }
}
