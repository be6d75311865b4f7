import type { Digest } from "../core/digest.js";
import type { EventSink } from "../core/events.js";
import type { Reference } from "../core/reference.js";
import type { Descriptor } from "../image/descriptor.js";

/** Where an image came from, as recorded with it and printed by `pull`. */
export type SourceName = "registry" | "oras" | "layout" | "docker-archive" | "object-file";

export interface SourceOptions {
  /** Aborting ends the call with INTERRUPTED and releases its connection. */
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: EventSink | undefined;
  /** Called once for every request that is about to be sent (registries only): what `image.requests` counts. */
  readonly onRequest?: (() => void) | undefined;
}

export interface ResolveOptions extends SourceOptions {
  /** What the reference named last time. A source that can tell cheaply answers `unchanged` instead of the document. */
  readonly known?: { readonly digest: Digest; readonly etag?: string | undefined } | undefined;
}

export type Resolution =
  /** The root document's bytes, already checked: they hash to `descriptor.digest`, which is the reference's own digest if it has one. */
  | {
      readonly unchanged: false;
      readonly descriptor: Descriptor;
      readonly bytes: Uint8Array;
      readonly etag?: string | undefined;
    }
  | {
      readonly unchanged: true;
      /** What it took to find out: not every registry can tell without sending the document again. */
      readonly bytesFetched: number;
    };

/**
 * Somewhere images come from. The puller knows nothing else of it, so a new source costs one file.
 * Every implementation passes test/source/conformance.ts.
 */
export interface ImageSource {
  readonly name: SourceName;

  /** Whether fetching is as cheap as asking the cache whether another process does: then each fetches for itself. */
  readonly isLocal?: boolean;

  /**
   * What the reference names now, with one request where the source is remote. A digest in the reference beats its
   * tag. Throws NOT_FOUND, UNAUTHORIZED, UNREACHABLE, DIGEST_MISMATCH, or INVALID_IMAGE when the document is too long.
   */
  resolve(reference: Reference, options?: ResolveOptions): Promise<Resolution>;

  /**
   * The bytes of one manifest or blob of the reference's repository, as a stream. The stream ends after at most
   * `descriptor.size + 1` bytes and is NOT verified: the reader checks size and digest as it reads. Ending the
   * iteration early releases the connection.
   */
  fetch(
    reference: Reference,
    descriptor: Descriptor,
    options?: SourceOptions,
  ): Promise<AsyncIterable<Uint8Array>>;

  /** Says which references will be asked for together, where a source can make something of it: one token for all. */
  announce?(references: readonly Reference[]): void;

  /** Releases connections and files. Calls under way fail. */
  close(): Promise<void>;
}
