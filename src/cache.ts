import type { ExportResult } from "./bundle/export.js";
import type { PushedImage } from "./bundle/push.js";
import type { CallName } from "./core/channels.js";
import type { Digest } from "./core/digest.js";
import { BpfcacheError, toBpfcacheError } from "./core/errors.js";
import { type EventSink, emit } from "./core/events.js";
import { type Limits, withLimits } from "./core/limits.js";
import type { Platform } from "./core/platform.js";
import { parseReference, type Reference } from "./core/reference.js";
import { Observer } from "./observer.js";
import type {
  BatchOptions,
  CacheOptions,
  ExportOptions,
  PulledImage,
  PullOptions,
  PushOptions,
  ScrubOptions,
  SeedOptions,
} from "./options.js";
import { Programs } from "./programs/programs.js";
import { type BatchResult, jobsOf, takeAll } from "./pull/batch.js";
import type { ListedImage } from "./pull/image-list.js";
import { lockedDigest } from "./pull/lock.js";
import type { PullPolicy } from "./pull/policy.js";
import { Puller } from "./pull/puller.js";
import { bringBack, bringBackLost, noSource } from "./pull/repair.js";
import type { PullOutcome, PullRequest } from "./pull/request.js";
import { type RestoredLayers, restoreLayers, restoreLayersOf } from "./pull/restore-layers.js";
import { seedAll } from "./pull/seed.js";
import type { Verification } from "./pull/verify.js";
import { platformOf, publishRead, type ReadOptions } from "./reader.js";
import { RegistryServer, type ServeOptions } from "./serve/server.js";
import type { ImageSource } from "./source/image-source.js";
import { LazySource } from "./source/lazy-source.js";
import { requireOnline } from "./source/online.js";
import type { Spans } from "./spans.js";
import { budgetOf } from "./store/budget.js";
import type { Bytecode, BytecodeDescription } from "./store/bytecode.js";
import type { CachedImage, ImageDetails } from "./store/catalog.js";
import type { Compaction } from "./store/compact.js";
import type { Usage } from "./store/disk-usage.js";
import type { ListFilter } from "./store/list.js";
import type { Metrics } from "./store/metrics.js";
import type { PruneOptions, PruneResult } from "./store/prune.js";
import { manifestDigestOf, type RefRecord, rootDigestOf } from "./store/records.js";
import type { ScrubReport } from "./store/scrub/scrub.js";
import { StateStore } from "./store/state-store.js";
import type { StateTree } from "./store/state-tree.js";
import { Store } from "./store/store.js";
import { toVerdict } from "./store/verdicts.js";
import { Trust } from "./trust/trust.js";

type HowToPull = Pick<
  PullRequest,
  "policy" | "maxAgeMs" | "mayMoveReference" | "referrers" | "group" | "lockedTo"
>;

/** A cache of eBPF images: pulls them in, and reads them as `BytecodeReader` does. Made by `openCache`. */
export class BytecodeCache {
  readonly #store: Store;
  readonly #puller: Puller;
  readonly #trust: Trust | undefined;
  readonly #options: CacheOptions;
  readonly #closing = new AbortController();
  readonly #underWay = new Set<Promise<unknown>>();
  readonly #servers: RegistryServer[] = [];
  readonly #registry: ImageSource;
  readonly #observer: Observer;
  readonly #state: StateStore;
  /** What is loaded from this cache, and the loader. */
  readonly programs: Programs;

  /** @internal Use `openCache`. */
  static open(options: CacheOptions, spans?: Spans): BytecodeCache {
    const { directory, maxBytes, evictionGraceMs, bootId } = options;
    const budget = budgetOf(maxBytes, evictionGraceMs);
    const store = Store.open({ directory, limits: withLimits(options.limits), budget, bootId });
    if (store.recovery !== undefined) emit(options.onEvent, { event: "recovered", ...store.recovery });
    try {
      return new BytecodeCache(store, options, spans);
    } catch (error) {
      store.close();
      throw error;
    }
  }

  private constructor(store: Store, options: CacheOptions, spans: Spans | undefined) {
    this.#store = store;
    this.#options = options;
    this.#observer = new Observer(store.directory, store.counters, spans);
    this.#trust = Trust.open(store, options.trust);
    this.#puller = new Puller(store, withLimits(options.limits), this.#trust);
    this.#state = new StateStore(() => store.environment, false);
    this.programs = new Programs(store.environment, {
      toolTimeoutMs: this.#limits.toolTimeoutMs,
      run: (signal, work) => this.#track(() => work(this.#signal(signal))),
      read: async (reference, pullPolicy, how, signal) => {
        if (pullPolicy !== "Never")
          await this.pull(reference, { pullPolicy, platform: how.platform, signal });
        return this.bytecode(reference, how);
      },
    });
    this.#registry =
      options.via === "oras"
        ? new LazySource("oras", () => openOras(options))
        : new LazySource("registry", () => openRegistry(options, store));
  }

  get directory(): string {
    return this.#store.directory;
  }

  /**
   * Makes an image readable here. Throws, by code: USAGE, NOT_FOUND, NOT_CACHED, UNAUTHORIZED, UNREACHABLE,
   * DIGEST_MISMATCH, UNTRUSTED, INVALID_IMAGE, PLATFORM_MISMATCH, CACHE_FULL, CACHE_CORRUPT, INTERRUPTED. After a failure the
   * cache is as it was before; with `referrers`, the image itself stays when what refers to it cannot be had.
   */
  async pull(reference: string, options: PullOptions = {}): Promise<PulledImage> {
    const parsed = parseReference(reference);
    return this.#call("pull", [parsed.toString()], async () => {
      const request = this.#request(this.#registry, parsed, options, this.#pullPolicy(options));
      return this.#toPulled(await this.#puller.pull(request));
    });
  }

  /**
   * What the trust policy says of an image, and why each of its signatures counts or not: decided anew, on what is here,
   * else on what the registry says. That it is refused is a result. Throws USAGE without a policy, and what `pull`
   * throws.
   */
  async verify(
    reference: string,
    options: Pick<PullOptions, "pullPolicy" | "platform" | "signal" | "onEvent"> = {},
  ): Promise<Verification> {
    const parsed = parseReference(reference);
    return this.#track(async () => {
      const request = this.#request(this.#registry, parsed, options, this.#pullPolicy(options));
      return this.#puller.verify(request);
    });
  }

  /**
   * Pulls many at a time. One failure stops no other: what failed is in the result, and the promise is fulfilled. An
   * image may bring a pull policy of its own, for when neither `options` nor the cache's options name one.
   */
  async prefetch(
    images: readonly (string | ListedImage)[],
    options: BatchOptions = {},
  ): Promise<BatchResult<PulledImage>> {
    const listed = images.map((image) => (typeof image === "string" ? { reference: image } : image));
    const references = listed.map(({ reference }) => reference);
    const policies = new Map(listed.map(({ reference, pullPolicy }) => [reference, pullPolicy]));
    const { lock } = options;
    this.#registry.announce?.(references.flatMap(parseOrNothing));
    return this.#call("prefetch", references, async () => {
      const result = await this.#takeAll(this.#registry, references, options, (reference) => ({
        ...this.#pullPolicy(options, policies.get(reference)),
        lockedTo: lock && lockedDigest(lock, parseReference(reference).toString()),
      }));
      // What a lock is made of, or demands, is what was asked for.
      const lost = lock === undefined ? await this.#takeLost(options) : [];
      return { ...result, images: [...result.images, ...lost] };
    });
  }

  /**
   * Re-hashes and checks all there is. With `repair`, what is damaged is put right: from what is here, else from where
   * it came; what neither has is removed and brought back by the next prefetch. Throws INTERRUPTED, CACHE_FULL, and
   * CACHE_CORRUPT when the database itself cannot be read.
   */
  scrub(options: ScrubOptions = {}): Promise<ScrubReport> {
    const circumstances = {
      source: this.#pullPolicy({}).policy === "Never" ? noSource("registry") : this.#registry,
      signal: this.#signal(options.signal),
      onEvent: this.#sink(options.onEvent),
    };
    const repair = (record: RefRecord): Promise<unknown> =>
      bringBack(this.#puller, this.#store, { ...record, rootDigest: rootDigestOf(record) }, circumstances);
    return this.#call("scrub", [], () =>
      this.#store.scrub({ ...circumstances, bringBack: options.repair === true ? repair : undefined }),
    );
  }

  /**
   * Takes in images from files, as if pulled: OCI layouts, as directories or tar archives, Docker's archives, single
   * eBPF objects, and directories of them; told by their contents, packed or not. References that are cached already
   * and mean something else are left alone, and reported as failed, unless `overwrite` is set. Throws, when there is
   * nothing but a file that cannot be read: NOT_FOUND, INVALID_IMAGE, USAGE for names that are missing, CACHE_FULL.
   */
  async seed(paths: readonly string[], options: SeedOptions = {}): Promise<BatchResult<PulledImage>> {
    const { overwrite = false, referrers = true } = options;
    const how = {
      policy: "Always",
      mayMoveReference: overwrite,
      referrers,
    } as const;
    const { as, input } = options;
    const [signal, onEvent] = [this.#signal(options.signal), this.#sink(options.onEvent)];
    const limits = withLimits(this.#options.limits);
    const { directory } = this.#store;
    return this.#call("seed", paths, () =>
      seedAll({ paths, input, as, limits, directory, signal, onEvent }, (source, references) =>
        this.#takeAll(source, references, options, () => how),
      ),
    );
  }

  /**
   * Writes images out as an OCI image layout, or in another form, with their signatures. The same images always give
   * the same bytes, and nothing stands at the output before all of it does. What cannot be exported is in `failed`;
   * when nothing can, that is thrown. Throws USAGE, NOT_CACHED, INVALID_IMAGE, CACHE_CORRUPT for damaged content,
   * CACHE_FULL when the disk of the output is full, INTERRUPTED.
   */
  async export(references: readonly string[], options: ExportOptions): Promise<ExportResult> {
    const { all = false, platforms, lock, overwrite = false } = options;
    if (all === references.length > 0) {
      throw new BpfcacheError("USAGE", "name what to export: either references or all");
    }
    const { exportImages } = await import("./bundle/export.js");
    return this.#call("export", references, async () => {
      await this.#restoreAll(all ? undefined : references.flatMap(parseOrNothing), options);
      return exportImages(this.#store, {
        output: options.output,
        format: options.format,
        references: all ? undefined : references,
        platforms: platforms?.map(platformOf),
        defaultPlatform: this.#platform(undefined),
        since: options.since,
        lockFile: lock,
        mayOverwrite: overwrite,
        limits: this.#limits,
        signal: this.#signal(options.signal),
        onEvent: this.#sink(options.onEvent),
      });
    });
  }

  /**
   * Publishes an image through the `oras` program, with its credentials: one built of object files as bpfman specifies
   * it, or what is cached under the reference, with its signatures. Throws USAGE, NOT_CACHED, INVALID_IMAGE,
   * PLATFORM_MISMATCH, UNAUTHORIZED, UNREACHABLE, TOOL_FAILED, INTERRUPTED.
   */
  async push(reference: string, options: PushOptions = {}): Promise<PushedImage> {
    const { objects, to = reference } = options;
    requireOnline(this.#options, to);
    const { pushCached, pushObjects } = await import("./bundle/push.js");
    const { OrasAccess } = await import("./source/oras/oras-access.js");
    const { plainHttp, authFile, caFile } = this.#options;
    const limits = this.#limits;
    const oras = new OrasAccess({ timeoutMs: limits.toolTimeoutMs, plainHttp, authFile, caFile });
    const signal = this.#signal(options.signal);
    const target = parseReference(to);
    const pushed = this.#call("push", [target.toString()], async () => {
      if (objects === undefined) {
        const cached = parseReference(reference);
        const platform = this.#platform(undefined);
        await this.#restoreAll([cached], { signal });
        return pushCached(oras, this.#store, { reference: cached, to: target, platform, limits, signal });
      }
      const inputs = objects.map((each) => ({ ...each, platform: this.#platform(each.platform) }));
      return pushObjects(oras, target, inputs, signal);
    });
    return pushed.catch((error: unknown) => {
      throw toBpfcacheError(error).about(target.toString());
    });
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
      this.#trust?.require,
    );
    this.#store.noteUse(bytecode.manifestDigest, Date.now());
    this.#store.counters.add("reads");
    publishRead(bytecode);
    return bytecode;
  }

  /** As `BytecodeReader.withBytecode`. */
  withBytecode<T>(
    reference: string,
    use: (view: Uint8Array, description: BytecodeDescription) => T,
    options: ReadOptions = {},
  ): T {
    const tellUse = (view: Uint8Array, description: BytecodeDescription): T => {
      this.#store.counters.add("reads");
      publishRead(description);
      return use(view, description);
    };
    return this.#store.withBytecode(
      parseReference(reference),
      this.#platform(options.platform),
      options,
      tellUse,
      this.#trust?.require,
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

  /**
   * Removes what the options say, the least recently used first, in short transactions that pulls and readers pass
   * between. Pinned references stay. Throws USAGE when nothing is asked for, INTERRUPTED.
   *
   * @example
   * const { removed, bytesFreed } = await cache.prune({ olderThanMs: 30 * 86_400_000, dryRun: true });
   */
  prune(options: PruneOptions): Promise<PruneResult> {
    return this.#call("prune", [], () =>
      this.#store.prune({ ...options, signal: this.#signal(options.signal) }),
    );
  }

  /** What takes the space. */
  usage(): Usage {
    return this.#store.usage();
  }

  /** What the cache has done since it was made, and what is in it now: for monitoring. */
  metrics(): Metrics {
    return this.#store.metrics();
  }

  /**
   * Fetches the layers again that `prune` dropped, by digest from the reference's registry. Throws NOT_CACHED when
   * the image is not here, or layers are not and the cache is offline; and what `pull` throws.
   */
  async restoreLayers(
    reference: string,
    options: Pick<PullOptions, "platform" | "signal" | "onEvent"> = {},
  ): Promise<RestoredLayers> {
    const parsed = parseReference(reference);
    return this.#track(() => restoreLayers(this.#store, this.#limits, this.#layerRequest(parsed, options)));
  }

  /**
   * Gives the space of what was removed back to the file system; the database's file never shrinks by itself. Others may
   * read and write meanwhile. Throws CACHE_FULL when there is no room for a copy, and CACHE_BUSY.
   */
  async compact(): Promise<Compaction> {
    return this.#call("compact", [], () => this.#store.compact());
  }

  /** A tree of the user's own in the cache's database; see `openStore`. */
  tree(name: string): StateTree {
    return this.#state.tree(name);
  }

  /** Runs `work` as one transaction over all trees of the user's own; see `StateStore.transaction`. */
  transaction<T>(work: () => T): T {
    return this.#state.transaction(work);
  }

  /** Serves the cache as a read-only OCI registry, on 127.0.0.1 unless told otherwise. Throws USAGE. */
  async serve(options: ServeOptions = {}): Promise<RegistryServer> {
    const restore = (repository: Reference, manifest: Digest): Promise<RestoredLayers> =>
      this.#track(() =>
        restoreLayersOf(this.#store, this.#limits, this.#layerRequest(repository, {}), manifest),
      );
    const server = await RegistryServer.listen(this.#store, options, restore);
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
  async #takeLost(options: BatchOptions): Promise<PulledImage[]> {
    const { policy } = this.#pullPolicy(options);
    const source = this.#registry;
    const signal = this.#signal(options.signal);
    const onEvent = this.#sink(options.onEvent);
    const images: PulledImage[] = [];
    for (const lost of policy === "Never" ? [] : this.#store.lost()) {
      if (signal.aborted) break;
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
    return images;
  }

  async #takeAll(
    source: ImageSource,
    references: readonly string[],
    options: BatchOptions,
    how: (reference: string) => HowToPull,
  ): Promise<BatchResult<PulledImage>> {
    const group = this.#store.groupCommit(jobsOf(options));
    const take = (reference: string): Promise<readonly PulledImage[]> =>
      this.#call("pull", [reference], async () => {
        const manner = { ...how(reference), group };
        const request = this.#request(source, parseReference(reference), options, manner);
        const outcomes =
          options.allPlatforms === true
            ? await this.#puller.pullAllPlatforms(request)
            : [await this.#puller.pull(request)];
        return outcomes.map((outcome) => this.#toPulled(outcome));
      });
    return takeAll(references, take, { group, onEvent: this.#sink(options.onEvent) });
  }

  #pullPolicy({ pullPolicy, maxAgeMs }: PullOptions, listed?: PullPolicy): HowToPull {
    const policy = pullPolicy ?? this.#options.pullPolicy ?? listed ?? "IfNotPresent";
    return { policy: this.#options.offline === true ? "Never" : policy, maxAgeMs };
  }

  /** Layers that prune has dropped, where they can be had; what still lacks some, an export says. */
  async #restoreAll(
    references: readonly Reference[] | undefined,
    options: Pick<PullOptions, "signal" | "onEvent">,
  ): Promise<void> {
    const rows = references?.flatMap((each) => this.#store.references(each)) ?? this.#store.references();
    for (const row of rows) {
      const manifest = manifestDigestOf(row);
      if ((this.#store.droppedLayers(manifest) ?? []).length === 0) continue;
      const request = this.#layerRequest(parseReference(row.reference), options);
      try {
        await restoreLayersOf(this.#store, this.#limits, request, manifest);
      } catch (thrown) {
        const error = toBpfcacheError(thrown);
        if (error.code === "INTERRUPTED" || error.code === "INTERNAL") throw error;
        emit(request.onEvent, { event: "warning", reference: row.reference, message: error.message });
      }
    }
  }

  #layerRequest(
    reference: Reference,
    options: Pick<PullOptions, "platform" | "signal" | "onEvent">,
  ): PullRequest {
    const { policy } = this.#pullPolicy({});
    return this.#request(this.#registry, reference, options, { policy });
  }

  get #limits(): Limits {
    return withLimits(this.#options.limits);
  }

  #request(source: ImageSource, reference: Reference, options: PullOptions, how: HowToPull): PullRequest {
    return {
      source,
      reference,
      platform: this.#platform(options.platform),
      strict: options.strict,
      referrers: options.referrers,
      signal: this.#signal(options.signal),
      onEvent: this.#sink(options.onEvent, source.isLocal),
      ...how,
    };
  }

  #toPulled({ record, from, requests, bytesFetched, verdict }: PullOutcome): PulledImage {
    const trust = verdict === undefined ? null : toVerdict(verdict);
    return { ...this.#store.describe(record), from, requests, bytesFetched, trust };
  }

  #platform(platform: string | Platform | undefined): Platform {
    return platformOf(platform ?? this.#options.platform);
  }

  /** A signal of the call's own, so that listeners do not pile up on one that many calls share. */
  #signal(signal: AbortSignal | undefined): AbortSignal {
    const closing = this.#closing.signal;
    return AbortSignal.any(signal === undefined ? [closing] : [signal, closing]);
  }

  #sink(onEvent: EventSink | undefined, isOfFiles = false): EventSink {
    return this.#observer.sink([this.#options.onEvent, onEvent], isOfFiles);
  }

  #call<T>(name: CallName, references: readonly string[], work: () => Promise<T>): Promise<T> {
    return this.#track(() => this.#observer.call(name, references, work));
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
  requireOnline(options);
  const { limits, plainHttp, authFile, caFile, registryConfig } = options;
  const { RegistrySource } = await import("./source/registry/registry-source.js");
  const challenges = store.hosts;
  return new RegistrySource({ limits, plainHttp, authFile, caFile, challenges, ...registryConfig });
}

async function openOras(options: CacheOptions): Promise<ImageSource> {
  requireOnline(options);
  const { plainHttp, authFile, caFile } = options;
  const { OrasSource } = await import("./source/oras/oras-source.js");
  return new OrasSource({ limits: withLimits(options.limits), plainHttp, authFile, caFile });
}
