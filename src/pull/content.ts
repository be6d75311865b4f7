import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { type ContentName, emit } from "../core/events.js";
import type { Limits } from "../core/limits.js";
import type { Reference } from "../core/reference.js";
import type { Descriptor } from "../image/descriptor.js";
import type { ImageContent } from "../image/formats/format.js";
import type { ImageManifest } from "../image/manifest.js";
import { indexMediaTypes } from "../image/media-types.js";
import type { Resolution } from "../source/image-source.js";
import type { LeaseGroup } from "../store/lease-group.js";
import { contentLeaseKey } from "../store/lease-rows.js";
import type { Wanted } from "../store/leases.js";
import type { BlobKind, Store } from "../store/store.js";
import { fetchVerified, isInline, requireSize } from "./fetch.js";
import type { Flights, Passenger } from "./flights.js";
import type { FoundReferrers } from "./referrers.js";
import type { PullRequest } from "./request.js";

/** What an image is made of besides its manifest. */
export function blobsOf({ config, layers }: ImageManifest): (Descriptor & { readonly kind: BlobKind })[] {
  return [{ ...config, kind: "config" }, ...layers.map((layer) => ({ ...layer, kind: "layer" as const }))];
}

type PartKind = BlobKind | "manifest";

/** For messages. */
function nameOf(kind: PartKind, { mediaType }: Descriptor): string {
  if (kind === "config") return "the image config";
  if (kind === "layer") return "the layer";
  return indexMediaTypes.has(mediaType) ? "the index" : "the manifest";
}

/** What all pulls of a process share, whatever image they are for: the bytes, and the roots asked for by digest. */
export interface Downloads {
  readonly blobs: Flights<Buffer>;
  readonly roots: Flights<Resolution>;
  readonly referrers: Flights<FoundReferrers>;
}

/**
 * The content of one pull: from the store what is there, from the source what is not. It counts what it took, and
 * keeps its place in shared downloads until `leave`.
 */
export class Content {
  readonly #store: Store;
  readonly #limits: Limits;
  readonly #downloads: Downloads;
  readonly #leases: LeaseGroup | undefined;
  readonly #request: PullRequest;
  readonly #passengers: Passenger<unknown>[] = [];
  requests = 0;
  bytesFetched = 0;

  constructor(
    store: Store,
    limits: Limits,
    downloads: Downloads,
    leases: LeaseGroup | undefined,
    request: PullRequest,
  ) {
    this.#store = store;
    this.#limits = limits;
    this.#downloads = downloads;
    this.#leases = leases;
    this.#request = request;
  }

  leave(): void {
    for (const passenger of this.#passengers) passenger.leave();
  }

  /** All of them at once: whoever has leases on blobs waits for nobody, so nobody waits for long or in a circle. */
  async leaseBlobs({ config, layers }: ImageManifest): Promise<void> {
    const remote = (descriptor: Descriptor): boolean => !isInline(descriptor);
    const wanted = [
      ...[config].filter(remote).map(({ digest }) => this.#wanted("config", digest)),
      ...layers.filter(remote).map(({ digest }) => this.#wanted("layer", digest)),
    ];
    await this.#lease(wanted);
  }

  /** The manifest, if it is here or another process brings it; if not, fetching it is up to this pull now. */
  async manifestOnceFree(digest: Digest): Promise<{ mediaType: string; bytes: Buffer } | undefined> {
    await this.#lease([this.#wanted("manifest", digest)]);
    return this.#heldManifest(digest);
  }

  async #lease(wanted: readonly Wanted[]): Promise<void> {
    const { reference, signal, onEvent } = this.#request;
    const onWaiting = (): void => emit(onEvent, { event: "waiting", reference: reference.toString() });
    await this.#leases?.take(wanted, { signal, onWaiting });
  }

  #wanted(kind: PartKind, digest: Digest): Wanted {
    return { key: contentLeaseKey(kind, digest), isHere: () => this.#store.holds(kind, digest) };
  }

  /** Before anything of it is fetched, or room is made for it. Throws INVALID_IMAGE. */
  requireSizes({ config, layers }: ImageManifest): void {
    requireSize(config.size, "the image config", this.#limits.configBytes);
    for (const { size } of layers) requireSize(size, "the layer", this.#limits.layerBytes);
  }

  /** Config and layers at the same time; the first failure ends the others. */
  async ofImage(manifest: ImageManifest): Promise<ImageContent> {
    const { configBytes, layerBytes } = this.#limits;
    const [config, ...layers] = await Promise.all([
      this.#blob("config", manifest.config, configBytes),
      ...manifest.layers.map((descriptor) => this.#blob("layer", descriptor, layerBytes)),
    ]);
    return {
      manifest,
      config: config ?? Buffer.alloc(0),
      layers: manifest.layers.map((descriptor, index) => ({
        descriptor,
        bytes: layers[index] ?? Buffer.alloc(0),
      })),
    };
  }

  async #blob(kind: BlobKind, descriptor: Descriptor, maxBytes: number): Promise<Buffer> {
    const held = this.#heldBlob(kind, descriptor);
    if (held === undefined) return this.fetch(kind, descriptor, maxBytes);
    this.noteReuse(kind, descriptor.digest, held.byteLength);
    return held;
  }

  /** Says that something needed not be asked for. */
  noteReuse(kind: ContentName, digest: Digest, bytes: number, from: "cache" | "download" = "cache"): void {
    const { onEvent, reference } = this.#request;
    emit(onEvent, { event: "reused", reference: reference.toString(), kind, digest, bytes, from });
  }

  /**
   * Downloads are shared with every other pull that wants the same bytes, from whatever repository. Another's
   * download may fail for reasons of its own, a repository without the blob or without the right to it: then this
   * pull asks for itself.
   */
  async fetch(kind: PartKind, descriptor: Descriptor, maxBytes: number): Promise<Buffer> {
    const { source, reference, onEvent, signal } = this.#request;
    const what = nameOf(kind, descriptor);
    for (;;) {
      let isOwn = false;
      const passenger = this.#downloads.blobs.board(
        `${descriptor.digest} ${descriptor.size}`,
        async (flightSignal) => {
          isOwn = true;
          const options = { signal: flightSignal, onEvent, onRequest: () => this.requests++, what, maxBytes };
          const bytes = await fetchVerified(source, reference, descriptor, options);
          this.bytesFetched += bytes.byteLength;
          return bytes;
        },
      );
      this.#passengers.push(passenger);
      try {
        const bytes = await passenger.arrival(signal);
        if (!isOwn) this.noteReuse(kind, descriptor.digest, bytes.byteLength, "download");
        return bytes;
      } catch (error) {
        passenger.leave();
        if (isOwn || signal?.aborted === true) throw error;
      }
    }
  }

  /** Asks for a root by its digest: pulls for several platforms that ask at the same time share the answer. */
  async resolveDigest(reference: Reference): Promise<Resolution> {
    const { source, onEvent, signal } = this.#request;
    const passenger = this.#downloads.roots.board(reference.toString(), (flightSignal) =>
      source.resolve(reference, { signal: flightSignal, onEvent, onRequest: () => this.requests++ }),
    );
    this.#passengers.push(passenger);
    return passenger.arrival(signal);
  }

  /** The same of what refers to a root. */
  async referrersOf(
    root: Digest,
    find: (signal: AbortSignal) => Promise<FoundReferrers>,
  ): Promise<FoundReferrers> {
    const { reference, signal } = this.#request;
    const passenger = this.#downloads.referrers.board(`${reference.name} ${root}`, find);
    this.#passengers.push(passenger);
    return passenger.arrival(signal);
  }

  /** Damage in the cache is no reason to fail here: what is wrong is fetched again. */
  #heldBlob(kind: BlobKind, { digest, size }: Descriptor): Buffer | undefined {
    try {
      const bytes = this.#store.blob(kind, digest);
      return bytes?.length === size ? bytes : undefined;
    } catch (error) {
      return this.#ignoreDamage(error);
    }
  }

  #heldManifest(digest: Digest): { mediaType: string; bytes: Buffer } | undefined {
    try {
      return this.#store.manifest(digest);
    } catch (error) {
      return this.#ignoreDamage(error);
    }
  }

  #ignoreDamage(error: unknown): undefined {
    if (!(error instanceof BpfcacheError) || error.code !== "CACHE_CORRUPT") throw error;
    this.#warn(`${error.message}; it is fetched again`);
    return undefined;
  }

  #warn(message: string): void {
    emit(this.#request.onEvent, { event: "warning", reference: this.#request.reference.toString(), message });
  }
}
