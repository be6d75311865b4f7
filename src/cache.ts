import { BpfcacheError, toBpfcacheError } from "./core/errors.js";
import { type EventSink, emit } from "./core/events.js";
import { withLimits } from "./core/limits.js";
import type { Platform } from "./core/platform.js";
import { parseReference, type Reference } from "./core/reference.js";
import type {
  BatchOptions,
  CacheOptions,
  PulledImage,
  PullOptions,
  ScrubOptions,
  SeedOptions,
} from "./options.js";
import { type BatchResult, mergeBatches, takeAll } from "./pull/batch.js";
import { Puller } from "./pull/puller.js";
import { bringBack, bringBackLost, noSource } from "./pull/repair.js";
import type { PullOutcome, PullRequest } from "./pull/request.js";
import { openSeed } from "./pull/seed.js";
import { platformOf, type ReadOptions } from "./reader.js";
import { RegistryServer, type ServeOptions } from "./serve/server.js";
import type { ImageSource } from "./source/image-source.js";
import { LazySource } from "./source/lazy-source.js";
import type { Bytecode, BytecodeDescription } from "./store/bytecode.js";
import type { CachedImage, ImageDetails } from "./store/catalog.js";
import type { ListFilter } from "./store/list.js";
import { type RefRecord, rootDigestOf } from "./store/records.js";
import type { ScrubReport } from "./store/scrub/scrub.js";
import { Store } from "./store/store.js";

type HowToPull = Pick<PullRequest, "policy" | "maxAgeMs" | "mayMoveReference">;

/** A cache of eBPF images: pulls them in, and reads them as `BytecodeReader` does. Made by `openCache`. */
export class BytecodeCache {
  readonly #store: Store;
  readonly #puller: Puller;
  readonly #options: CacheOptions;
  readonly #closing = new AbortController();
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #servers: RegistryServer[] = [];
  readonly #registry: ImageSource;

  /** @internal Use `openCache`. */
  static open(options: CacheOptions): BytecodeCache {
    return new BytecodeCache(Store.open({ directory: options.directory }), options);
  }

  private constructor(store: Store, options: CacheOptions) {
    this.#store = store;
    this.#options = options;
    this.#puller = new Puller(store, withLimits(options.limits));
    this.#registry = new LazySource("registry", () => openRegistry(options, store));
  }

  get directory(): string {
    return this.#store.directory;
  }

  /**
   * Makes an image readable here. Throws, by code: USAGE, NOT_FOUND, NOT_CACHED, UNAUTHORIZED, UNREACHABLE,
   * DIGEST_MISMATCH, INVALID_IMAGE, PLATFORM_MISMATCH, CACHE_FULL, CACHE_CORRUPT, INTERRUPTED. After a failure the
   * cache is as it was before.
   */
  async pull(reference: string, options: PullOptions = {}): Promise<PulledImage> {
    const parsed = parseReference(reference);
    return this.#track(async () => {
      const request = this.#request(this.#registry, parsed, options, this.#pullPolicy(options));
      return this.#toPulled(await this.#puller.pull(request));
    });
  }

  /** Pulls many at a time. One failure stops no other: what failed is in the result, and the promise is fulfilled. */
  async prefetch(
    references: readonly string[],
    options: BatchOptions = {},
  ): Promise<BatchResult<PulledImage>> {
    this.#registry.announce?.(references.flatMap(parseOrNothing));
    const result = await this.#takeAll(this.#registry, references, options, this.#pullPolicy(options));
    return mergeBatches([result, await this.#takeLost(options)]);
  }

  /**
   * Re-hashes and checks all there is. With `repair`, what is damaged is put right: from what is here, else from where
   * it came; what neither has is removed and brought back by the next prefetch. Throws INTERRUPTED, CACHE_FULL, and
   * CACHE_CORRUPT when the database itself cannot be read.
   */
  scrub(options: ScrubOptions = {}): Promise<ScrubReport> {
    const circumstances = {
      source: this.#options.offline === true ? noSource("registry") : this.#registry,
      signal: this.#signal(options.signal),
      onEvent: this.#sink(options.onEvent),
    };
    const repair = (record: RefRecord): Promise<unknown> =>
      bringBack(this.#puller, this.#store, { ...record, rootDigest: rootDigestOf(record) }, circumstances);
    return this.#track(() =>
      this.#store.scrub({ ...circumstances, bringBack: options.repair === true ? repair : undefined }),
    );
  }

  /**
   * Takes in images from OCI layout directories, as if pulled. References that are cached already and mean something
   * else are left alone, and reported as failed, unless `overwrite` is set.
   */
  async seed(paths: readonly string[], options: SeedOptions = {}): Promise<BatchResult<PulledImage>> {
    const how = { policy: "Always", mayMoveReference: options.overwrite === true } as const;
    const batches: BatchResult<PulledImage>[] = [];
    for (const path of paths) {
      const source = await openSeed(path, options.as, withLimits(this.#options.limits));
      const references = source.list().map(({ reference }) => reference.toString());
      try {
        batches.push(await this.#takeAll(source, references, options, how));
      } finally {
        await source.close();
      }
    }
    return mergeBatches(batches);
  }

  /** As `BytecodeReader.list`. */
  list(filter: ListFilter = {}, onIncomplete?: (reference: string) => void): readonly CachedImage[] {
    return this.#store.list(filter, onIncomplete);
  }

  /** Throws NOT_CACHED. */
  inspect(reference: string, options: Pick<ReadOptions, "platform"> = {}): ImageDetails {
    return this.#store.inspect(parseReference(reference), this.#platform(options.platform));
  }

  /** As `BytecodeReader.bytecode`; also notes the use. */
  bytecode(reference: string, options: ReadOptions = {}): Bytecode {
    const bytecode = this.#store.bytecode(
      parseReference(reference),
      this.#platform(options.platform),
      options,
    );
    this.#store.noteUse(bytecode.manifestDigest, Date.now());
    return bytecode;
  }

  /** As `BytecodeReader.withBytecode`. */
  withBytecode<T>(
    reference: string,
    use: (view: Uint8Array, description: BytecodeDescription) => T,
    options: ReadOptions = {},
  ): T {
    return this.#store.withBytecode(
      parseReference(reference),
      this.#platform(options.platform),
      options,
      use,
    );
  }

  /** Removes a reference with all that nothing else needs; on all platforms unless one is named. Throws NOT_CACHED. */
  remove(reference: string, options: Pick<ReadOptions, "platform"> = {}): { readonly bytesFreed: number } {
    const platform = options.platform === undefined ? undefined : platformOf(options.platform);
    return this.#store.remove(parseReference(reference), platform);
  }

  /** Keeps a reference, whatever prune is asked. Throws NOT_CACHED. */
  pin(reference: string, options: { readonly owner?: string; readonly reason?: string } = {}): void {
    const { owner = "", reason = "" } = options;
    this.#store.pin(parseReference(reference), { owner, reason, pinnedAt: Date.now() });
  }

  /** Throws NOT_CACHED. */
  unpin(reference: string): void {
    this.#store.unpin(parseReference(reference));
  }

  /** Serves the cache as a read-only OCI registry, on 127.0.0.1 unless told otherwise. Throws USAGE. */
  async serve(options: ServeOptions = {}): Promise<RegistryServer> {
    const server = await RegistryServer.listen(this.#store, options);
    this.#servers.push(server);
    return server;
  }

  /** Ends what is under way (INTERRUPTED), stops serving, closes connections and the database. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#underWay);
    await Promise.all(this.#servers.map((server) => server.close()));
    await this.#registry.close();
    this.#store.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /** What damage has cost the cache before. That it is still out of reach is no failure of what was asked for now. */
  async #takeLost(options: BatchOptions): Promise<BatchResult<PulledImage>> {
    const { policy } = this.#pullPolicy(options);
    const source = this.#registry;
    const signal = this.#signal(options.signal);
    const onEvent = this.#sink(options.onEvent);
    const images: PulledImage[] = [];
    for (const lost of policy === "Never" ? [] : this.#store.lost()) {
      try {
        const outcome = await this.#track(() =>
          bringBackLost(this.#puller, this.#store, lost, { source, signal, onEvent }),
        );
        images.push(this.#toPulled(outcome));
      } catch (error) {
        const { message } = toBpfcacheError(error);
        emit(onEvent, { event: "warning", reference: lost.reference, message: `still lost: ${message}` });
      }
    }
    return { images, failed: [], lock: {} };
  }

  #takeAll(
    source: ImageSource,
    references: readonly string[],
    options: BatchOptions,
    how: HowToPull,
  ): Promise<BatchResult<PulledImage>> {
    const take = (reference: string): Promise<readonly PulledImage[]> =>
      this.#track(async () => {
        const request = this.#request(source, parseReference(reference), options, how);
        const outcomes =
          options.allPlatforms === true
            ? await this.#puller.pullAllPlatforms(request)
            : [await this.#puller.pull(request)];
        return outcomes.map((outcome) => this.#toPulled(outcome));
      });
    return takeAll(references, take, { jobs: options.jobs, onEvent: this.#sink(options.onEvent) });
  }

  #pullPolicy({ pullPolicy, maxAgeMs }: PullOptions): HowToPull {
    const policy = pullPolicy ?? this.#options.pullPolicy ?? "IfNotPresent";
    return { policy: this.#options.offline === true ? "Never" : policy, maxAgeMs };
  }

  #request(source: ImageSource, reference: Reference, options: PullOptions, how: HowToPull): PullRequest {
    return {
      source,
      reference,
      platform: this.#platform(options.platform),
      strict: options.strict,
      signal: this.#signal(options.signal),
      onEvent: this.#sink(options.onEvent),
      ...how,
    };
  }

  #toPulled({ record, from, requests, bytesFetched }: PullOutcome): PulledImage {
    return { ...this.#store.describe(record), from, requests, bytesFetched, trust: null };
  }

  #platform(platform: string | Platform | undefined): Platform {
    return platformOf(platform ?? this.#options.platform);
  }

  /** A signal of the call's own, so that listeners do not pile up on one that many calls share. */
  #signal(signal: AbortSignal | undefined): AbortSignal {
    const closing = this.#closing.signal;
    return AbortSignal.any(signal === undefined ? [closing] : [signal, closing]);
  }

  #sink(onEvent: EventSink | undefined): EventSink | undefined {
    const always = this.#options.onEvent;
    if (always === undefined || onEvent === undefined) return onEvent ?? always;
    return (event) => {
      always(event);
      onEvent(event);
    };
  }

  #track<T>(work: () => Promise<T>): Promise<T> {
    if (this.#closing.signal.aborted) throw new BpfcacheError("USAGE", "the cache has been closed");
    const promise = work();
    this.#underWay.add(promise);
    const done = (): void => void this.#underWay.delete(promise);
    promise.then(done, done);
    return promise;
  }
}

/** What is no reference fails by itself, as one of many. */
function parseOrNothing(text: string): Reference[] {
  try {
    return [parseReference(text)];
  } catch {
    return [];
  }
}

async function openRegistry(options: CacheOptions, store: Store): Promise<ImageSource> {
  const { limits, plainHttp, authFile, caFile, registryConfig } = options;
  const { RegistrySource } = await import("./source/registry/registry-source.js");
  const challenges = store.hosts;
  return new RegistrySource({ limits, plainHttp, authFile, caFile, challenges, ...registryConfig });
}
