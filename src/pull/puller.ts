import type { Digest } from "../core/digest.js";
import { BpfcacheError, throwIfAborted } from "../core/errors.js";
import { type EventSink, emit } from "../core/events.js";
import type { Limits } from "../core/limits.js";
import { formatPlatform, type Platform, parsePlatform } from "../core/platform.js";
import type { Reference } from "../core/reference.js";
import type { Descriptor } from "../image/descriptor.js";
import { extractImage, formatOf, requireByteOrder } from "../image/extract.js";
import { requireAgreement } from "../image/formats/cross-check.js";
import type { ExtractedImage, ImageContent } from "../image/formats/format.js";
import { type ImageManifest, parseManifest } from "../image/manifest.js";
import { indexMediaTypes } from "../image/media-types.js";
import { platformOfEntry, platformsOf, selectPlatform } from "../image/select-platform.js";
import type { ImageSource } from "../source/image-source.js";
import { notCached } from "../store/bytecode.js";
import { ContentVanished, type PublishedManifest, requireMayMove } from "../store/publish.js";
import {
  type ImageRecord,
  manifestDigestOf,
  type RefRecord,
  type RootRecord,
  rootDigestOf,
} from "../store/records.js";
import type { BlobKind, Store } from "../store/store.js";
import { fetchVerified } from "./fetch.js";
import { Flights, type Passenger } from "./flights.js";
import type { PullPolicy } from "./policy.js";

export interface PullRequest {
  readonly reference: Reference;
  readonly platform: Platform;
  readonly policy: PullPolicy;
  readonly source: ImageSource;
  /** What the reference names, when that has been asked already. */
  readonly root?: ResolvedRoot | undefined;
  /** Under IfNotPresent: a reference that was checked longer ago is asked for again. */
  readonly maxAgeMs?: number | undefined;
  /** Whether a reference that is here may come to mean another image. True unless said otherwise. */
  readonly mayMoveReference?: boolean | undefined;
  /** Labels or metadata that do not fit the objects are INVALID_IMAGE, also of an image that is here already. */
  readonly strict?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: EventSink | undefined;
}

/** The root document with the validator it was served with. */
export type ResolvedRoot = PublishedManifest & { readonly etag?: string | undefined };

export interface PullOutcome {
  /** Where the bytes came from: the cache, or the source's name. */
  readonly from: string;
  /** Requests that were sent, tokens and redirects included. */
  readonly requests: number;
  readonly bytesFetched: number;
  readonly record: RefRecord;
}

/** Takes images from a source into the store. The steps of one pull are the private methods, in order. */
export class Puller {
  readonly #store: Store;
  readonly #limits: Limits;
  readonly #pulls = new WeakMap<ImageSource, Flights<PullOutcome>>();
  readonly #blobs = new Flights<Buffer>();

  constructor(store: Store, limits: Limits) {
    this.#store = store;
    this.#limits = limits;
  }

  /**
   * Makes the reference readable on the platform, as the policy says. Callers in this process that want the same at
   * the same time share one pull, and different images share the download of what they have in common.
   */
  async pull(request: PullRequest): Promise<PullOutcome> {
    throwIfAborted(request.signal);
    const cached = this.#findUsable(request);
    const hit = cached && this.#hit(request, cached);
    if (hit !== undefined) return hit;
    if (request.policy === "Never") throw notCached(request.reference);
    const { reference, platform, policy, root, mayMoveReference = true, strict = false } = request;
    const key = [reference, formatPlatform(platform), policy, root?.digest, mayMoveReference, strict].join(
      " ",
    );
    const passenger = this.#pullsFrom(request.source).board(key, (signal) =>
      this.#pullAgainIfVanished({ ...request, signal }),
    );
    try {
      return await passenger.arrival(request.signal);
    } catch (error) {
      throw error instanceof BpfcacheError ? error.about(reference.toString()) : error;
    } finally {
      passenger.leave();
    }
  }

  /**
   * Makes the reference readable on every platform that its root names, side by side. The source is asked once what
   * the root is, under any policy but Never. The request's own platform is for a root that is a single manifest.
   */
  async pullAllPlatforms(request: PullRequest): Promise<PullOutcome[]> {
    const { reference, source, signal, onEvent, policy } = request;
    if (policy === "Never") {
      const cached = this.#store
        .platformsOf(reference)
        .map((platform) => this.pull({ ...request, platform }));
      if (cached.length === 0) throw notCached(reference);
      return Promise.all(cached);
    }
    let requests = 0;
    const resolution = await source.resolve(reference, { signal, onEvent, onRequest: () => requests++ });
    if (resolution.unchanged)
      throw new BpfcacheError("INTERNAL", "the source said unchanged of what it was not told");
    const { descriptor, bytes, etag } = resolution;
    const root = { digest: descriptor.digest, mediaType: descriptor.mediaType, bytes, etag };
    const index = parseManifest(bytes, descriptor.mediaType);
    const named = index.kind === "index" ? platformsOf(index).map(parsePlatform) : [];
    const platforms = named.length > 0 ? named : [request.platform];
    const pulls = platforms.map((platform) => this.pull({ ...request, platform, policy: "Always", root }));
    const outcomes = await allOrFirstFailure(pulls);
    return outcomes.map((outcome, i) =>
      i === 0 ? { ...outcome, requests: outcome.requests + requests } : outcome,
    );
  }

  #pullsFrom(source: ImageSource): Flights<PullOutcome> {
    const flights = this.#pulls.get(source) ?? new Flights<PullOutcome>();
    this.#pulls.set(source, flights);
    return flights;
  }

  /** What is here and, by policy and age, need not be asked for. What a digest names never changes. */
  #findUsable({ reference, platform, policy, maxAgeMs }: PullRequest): RootRecord | undefined {
    if (reference.digest !== undefined || policy === "Never") return this.#store.find(reference, platform);
    if (policy === "Always") return undefined;
    const record = this.#store.findReference(reference, platform);
    const isStale =
      record !== undefined && maxAgeMs !== undefined && Date.now() - record.checkedAt > maxAgeMs;
    return isStale ? undefined : record;
  }

  #hit(request: PullRequest, record: RootRecord): PullOutcome | undefined {
    const { reference, platform, onEvent } = request;
    if (request.strict === true) requireStored(this.#store, record, reference);
    const adopted = this.#store.adopt(reference, platform, record, Date.now());
    if (adopted === undefined) return undefined;
    this.#store.noteUse(manifestDigestOf(record), Date.now());
    emit(onEvent, { event: "hit", reference: reference.toString(), digest: rootDigestOf(record) });
    return { from: "cache", requests: 0, bytesFetched: 0, record: adopted };
  }

  /** Another process may remove what this pull counted on finding; then it has to be fetched after all. */
  async #pullAgainIfVanished(request: PullRequest): Promise<PullOutcome> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await new Pull(this.#store, this.#limits, this.#blobs, request).run();
      } catch (error) {
        if (!(error instanceof ContentVanished) || attempt === 3) throw error;
      }
    }
  }
}

/** One pull under way: its counts, and the flights it has boarded. */
class Pull {
  readonly #store: Store;
  readonly #limits: Limits;
  readonly #blobs: Flights<Buffer>;
  readonly #request: PullRequest;
  readonly #passengers: Passenger<Buffer>[] = [];
  #requests = 0;
  #bytesFetched = 0;

  constructor(store: Store, limits: Limits, blobs: Flights<Buffer>, request: PullRequest) {
    this.#store = store;
    this.#limits = limits;
    this.#blobs = blobs;
    this.#request = request;
  }

  async run(): Promise<PullOutcome> {
    try {
      const known = this.#store.findReference(this.#request.reference, this.#request.platform);
      const root = await this.#resolve(known);
      if (root === undefined && known !== undefined) return this.#confirm(known);
      if (root === undefined)
        throw new BpfcacheError("INTERNAL", "the source said unchanged of what it was not told");
      if (known !== undefined && this.#request.mayMoveReference === false) requireMayMove(known, root.digest);
      const chain = await this.#descend(root);
      const record = this.#relink(chain, root.etag) ?? (await this.#takeIn(chain, root.etag));
      return this.#outcome(this.#bytesFetched > 0 ? this.#request.source.name : "cache", record);
    } finally {
      for (const passenger of this.#passengers) passenger.leave();
    }
  }

  /** Asks once what the reference names; from here on only digests are asked for. Undefined means: the same as before. */
  async #resolve(known: RefRecord | undefined): Promise<ResolvedRoot | undefined> {
    const { source, reference, root } = this.#request;
    if (root !== undefined) return root;
    const held = reference.digest && this.#heldManifest(reference.digest);
    if (reference.digest !== undefined && held !== undefined) return { digest: reference.digest, ...held };
    const resolution = await source.resolve(reference, {
      ...this.#sourceOptions(),
      known: known && { digest: rootDigestOf(known), etag: known.etag },
    });
    const digest = resolution.unchanged ? known && rootDigestOf(known) : resolution.descriptor.digest;
    this.#emitResolved(digest, digest === (known && rootDigestOf(known)));
    if (resolution.unchanged) {
      this.#bytesFetched += resolution.bytesFetched;
      return undefined;
    }
    const { descriptor, bytes, etag } = resolution;
    this.#bytesFetched += bytes.byteLength;
    return { digest: descriptor.digest, mediaType: descriptor.mediaType, bytes, etag };
  }

  #confirm(known: RefRecord): PullOutcome {
    if (this.#request.strict === true) requireStored(this.#store, known, this.#request.reference);
    this.#store.noteChecked(known, Date.now());
    this.#store.noteUse(manifestDigestOf(known), Date.now());
    return this.#outcome("cache", known);
  }

  /** From the root through indexes to the manifest for the platform. */
  async #descend(root: PublishedManifest): Promise<readonly [PublishedManifest, ...PublishedManifest[]]> {
    const chain: [PublishedManifest, ...PublishedManifest[]] = [root];
    for (let document = root; ; ) {
      const parsed = parseManifest(document.bytes, document.mediaType);
      if (parsed.kind === "manifest") return chain;
      if (chain.length > this.#limits.indexDepth) {
        throw new BpfcacheError(
          "INVALID_IMAGE",
          `indexes are nested deeper than ${this.#limits.indexDepth} levels`,
        );
      }
      document = await this.#child(selectPlatform(parsed, this.#request.platform));
      chain.push(document);
    }
  }

  async #child(descriptor: Descriptor): Promise<PublishedManifest> {
    const held = this.#heldManifest(descriptor.digest);
    if (held !== undefined) return { digest: descriptor.digest, ...held };
    const what = indexMediaTypes.has(descriptor.mediaType) ? "the index" : "the manifest";
    const bytes = await this.#fetch(descriptor, what, this.#limits.manifestBytes);
    return { digest: descriptor.digest, mediaType: descriptor.mediaType, bytes };
  }

  /** When the image is here already, only the reference is new. */
  #relink(
    manifests: readonly [PublishedManifest, ...PublishedManifest[]],
    etag: string | undefined,
  ): RefRecord | undefined {
    const digest = lastOf(manifests).digest;
    const image = this.#store.image(digest);
    if (image === undefined) return undefined;
    requireByteOrder(image.objects, this.#request.platform);
    if (this.#request.strict === true) requireAgreement(image.disagreements);
    const record = this.#store.publish({
      ref: this.#ref(manifests[0], etag),
      mayMoveReference: this.#request.mayMoveReference,
      manifests,
      image,
      layers: [],
      objects: [],
    });
    this.#store.noteUse(digest, Date.now());
    this.#emitPublished(record);
    return record;
  }

  /** Fetches what is missing, checks and extracts it, and publishes all at once. */
  async #takeIn(
    manifests: readonly [PublishedManifest, ...PublishedManifest[]],
    etag: string | undefined,
  ): Promise<RefRecord> {
    const { digest, bytes, mediaType } = lastOf(manifests);
    const manifest = parseManifest(bytes, mediaType);
    if (manifest.kind !== "manifest")
      throw new BpfcacheError("INTERNAL", `${digest} is not an image manifest`);
    formatOf(manifest);
    const content = await this.#fetchContent(manifest);
    const { platform, strict, signal } = this.#request;
    const entryPlatform = entryPlatformOf(manifests);
    const image = await extractImage(content, platform, {
      limits: this.#limits,
      entryPlatform,
      strict,
      signal,
    });
    throwIfAborted(signal);
    const record = this.#store.publish({
      ref: this.#ref(manifests[0], etag),
      mayMoveReference: this.#request.mayMoveReference,
      manifests,
      image: toRecord(manifest, image),
      config: { digest: manifest.config.digest, bytes: content.config },
      layers: content.layers.map((layer) => ({ digest: layer.descriptor.digest, bytes: layer.bytes })),
      objects: image.objects,
    });
    this.#store.noteUse(digest, Date.now());
    for (const message of warningsOf(image)) this.#warn(message);
    this.#emitPublished(record);
    return record;
  }

  /** Config and layers at the same time; the first failure ends the others. */
  async #fetchContent(manifest: ImageManifest): Promise<ImageContent> {
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
    return held ?? this.#fetch(descriptor, kind === "config" ? "the image config" : "the layer", maxBytes);
  }

  /**
   * Downloads are shared with every other pull that wants the same bytes, from whatever repository. Another's
   * download may fail for reasons of its own, a repository without the blob or without the right to it: then this
   * pull asks for itself.
   */
  async #fetch(descriptor: Descriptor, what: string, maxBytes: number): Promise<Buffer> {
    const { source, reference, onEvent, signal } = this.#request;
    for (;;) {
      let isOwn = false;
      const passenger = this.#blobs.board(`${descriptor.digest} ${descriptor.size}`, async (flightSignal) => {
        isOwn = true;
        const options = { signal: flightSignal, onEvent, onRequest: () => this.#requests++, what, maxBytes };
        const bytes = await fetchVerified(source, reference, descriptor, options);
        this.#bytesFetched += bytes.byteLength;
        return bytes;
      });
      this.#passengers.push(passenger);
      try {
        return await passenger.arrival(signal);
      } catch (error) {
        passenger.leave();
        if (isOwn || signal?.aborted === true) throw error;
      }
    }
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
    if (!(error instanceof BpfcacheError) || error.code !== "DIGEST_MISMATCH") throw error;
    this.#warn(`${error.message}; it is fetched again`);
    return undefined;
  }

  #ref(root: PublishedManifest, etag: string | undefined): Omit<RefRecord, "chain" | "objects"> {
    const { reference, platform, source } = this.#request;
    const index = parseManifest(root.bytes, root.mediaType);
    const now = Date.now();
    return {
      reference: reference.toString(),
      platform: formatPlatform(platform),
      source: source.name,
      pulledAt: now,
      checkedAt: now,
      etag,
      platforms: index.kind === "index" ? platformsOf(index) : [],
    };
  }

  #sourceOptions(): {
    signal: AbortSignal | undefined;
    onEvent: EventSink | undefined;
    onRequest: () => void;
  } {
    const { signal, onEvent } = this.#request;
    return { signal, onEvent, onRequest: () => this.#requests++ };
  }

  #outcome(from: string, record: RefRecord): PullOutcome {
    return { from, requests: this.#requests, bytesFetched: this.#bytesFetched, record };
  }

  #emitResolved(digest: Digest | undefined, unchanged: boolean): void {
    if (digest === undefined) return;
    emit(this.#request.onEvent, {
      event: "resolved",
      reference: this.#request.reference.toString(),
      digest,
      unchanged,
    });
  }

  #emitPublished(record: RefRecord): void {
    emit(this.#request.onEvent, {
      event: "published",
      reference: record.reference,
      digest: rootDigestOf(record),
      objects: record.objects.length,
    });
  }

  #warn(message: string): void {
    emit(this.#request.onEvent, { event: "warning", reference: this.#request.reference.toString(), message });
  }
}

/** The results when all have ended well, else the first failure, after all have ended. */
async function allOrFirstFailure<T>(promises: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(promises);
  return Promise.all(promises);
}

function lastOf(manifests: readonly [PublishedManifest, ...PublishedManifest[]]): PublishedManifest {
  return manifests.at(-1) ?? manifests[0];
}

function toRecord(manifest: ImageManifest, image: ExtractedImage): ImageRecord {
  const { mediaType, digest, size } = manifest.config;
  return {
    format: image.format,
    platform: image.platform && formatPlatform(image.platform),
    config: { mediaType, digest, size },
    layers: manifest.layers.map((layer) => ({
      digest: layer.digest,
      mediaType: layer.mediaType,
      size: layer.size,
    })),
    objects: image.objects.map(({ name, layer, digest: object, bytes, facts }) => ({
      name,
      digest: object,
      size: bytes.byteLength,
      layer,
      byteOrder: facts.byteOrder,
      programs: facts.programs.map((program) => ({
        name: program.name,
        type: program.type,
        section: program.section,
      })),
    })),
    labels: image.labels,
    attachments: image.attachments,
    metadata: image.metadata,
    disagreements: image.disagreements,
    warnings: warningsOf(image),
  };
}

function warningsOf({ disagreements = [], warnings = [] }: ExtractedImage): string[] {
  return [...disagreements, ...warnings];
}

/** What the index over a manifest says that it is for. */
function entryPlatformOf(chain: readonly [PublishedManifest, ...PublishedManifest[]]): Platform | undefined {
  const parent = chain.at(-2);
  const index = parent && parseManifest(parent.bytes, parent.mediaType);
  return index?.kind === "index" ? platformOfEntry(index, lastOf(chain)) : undefined;
}

/** An image that was taken in without `strict` is held to it when it is asked for with it. */
function requireStored(store: Store, record: RootRecord, reference: Reference): void {
  try {
    requireAgreement(store.image(manifestDigestOf(record))?.disagreements);
  } catch (error) {
    throw error instanceof BpfcacheError ? error.about(reference.toString()) : error;
  }
}
