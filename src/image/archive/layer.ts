import { createHash } from "node:crypto";
import { pipeline } from "node:stream/promises";
import { type Extract, extract as extractTar } from "tar-stream";
import type { Digest } from "../../core/digest.js";
import { BpfcacheError, throwIfAborted } from "../../core/errors.js";
import type { Limits } from "../../core/limits.js";
import { FileCollector, type KeepFile, type LayerFile } from "./file-collector.js";
import { inflate } from "./inflate.js";
import { refusal } from "./refusal.js";
import { TarFraming } from "./tar-framing.js";

export interface LayerContents {
  /** sha256 of the archive as inflated: what an image config lists under `rootfs.diff_ids`. */
  readonly diffId: Digest;
  /** The regular files in the order they came; whiteouts (`.wh.*`) are files like any other. */
  readonly files: readonly LayerFile[];
}

export interface ReadLayerOptions {
  readonly limits: Limits;
  readonly keep: KeepFile;
  /** Aborting ends the reading at the next chunk. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * Reads a layer (tar, plain or compressed) in memory; nothing is written anywhere. Only regular files count, and an
 * archive that two readers could understand differently is refused, as is one over the limits.
 * Throws INVALID_IMAGE, or INTERRUPTED.
 */
export async function readLayer(layer: Uint8Array, options: ReadLayerOptions): Promise<LayerContents> {
  const { limits, keep, signal } = options;
  throwIfAborted(signal);
  const framing = new TarFraming(limits);
  const hash = createHash("sha256");
  const collector = new FileCollector(limits, keep);
  await parseTar(
    checked(inflate(layer, limits, signal), framing, (chunk) => hash.update(chunk)),
    collector,
  );
  return { diffId: `sha256:${hash.digest("hex")}` as Digest, files: collector.files };
}

/** The chunks, each passed on only after its block structure was found right. */
async function* checked(
  chunks: AsyncIterable<Uint8Array>,
  framing: TarFraming,
  onChunk: (chunk: Uint8Array) => void,
): AsyncGenerator<Uint8Array, void, void> {
  for await (const chunk of chunks) {
    framing.update(chunk);
    onChunk(chunk);
    yield chunk;
  }
  framing.finish();
}

async function parseTar(chunks: AsyncIterable<Uint8Array>, collector: FileCollector): Promise<void> {
  const extract = extractTar();
  const entries = drainEntries(extract, collector);
  try {
    await pipeline(chunks, extract);
  } catch (error) {
    if (entries.failure !== undefined) throw entries.failure;
    if (error instanceof BpfcacheError) throw error;
    throw refusal("its tar archive is malformed", error);
  }
}

/**
 * Takes every entry as it comes. All of it happens in event handlers, in the turn the bytes arrive, so there is no
 * iterator left waiting when the archive turns out bad; the first failure ends the whole extraction.
 */
function drainEntries(extract: Extract, collector: FileCollector): { readonly failure: unknown } {
  const outcome: { failure: unknown } = { failure: undefined };
  const fail = (error: unknown): void => {
    outcome.failure ??= error;
    extract.destroy(error instanceof Error ? error : new Error(String(error)));
  };
  extract.on("entry", (header, stream, next) => {
    // The archive's own error arrives through the pipeline; without a listener this copy would be thrown.
    stream.on("error", () => {});
    attempt(() => {
      const contents = collector.begin(header);
      stream.on("data", (chunk) => attempt(() => contents?.append(chunk as Uint8Array), fail));
      stream.on("end", () =>
        attempt(() => {
          contents?.finish();
          next();
        }, fail),
      );
    }, fail);
  });
  return outcome;
}

function attempt(action: () => void, onFailure: (error: unknown) => void): void {
  try {
    action();
  } catch (error) {
    onFailure(error);
  }
}
