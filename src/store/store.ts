import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { defaultLimits, type Limits } from "../core/limits.js";
import { formatPlatform, type Platform, parsePlatform } from "../core/platform.js";
import { parseReference, type Reference } from "../core/reference.js";
import { type Budget, requireRoom } from "./budget.js";
import {
  type Bytecode,
  BytecodeAccess,
  type BytecodeDescription,
  type BytecodeOptions,
  notCached,
  type RequireTrusted,
} from "./bytecode.js";
import { type CachedImage, describeImage, describeImageFully, type ImageDetails } from "./catalog.js";
import { type Compaction, compact } from "./compact.js";
import { contentAt } from "./content.js";
import { Counters } from "./counters.js";
import type { Recovery } from "./damage.js";
import { DamagedRow, decodeRow, recordAt, soundRecordAt } from "./damaged-row.js";
import { type Usage, usageOf } from "./disk-usage.js";
import { droppedLayers, putLayersBack } from "./drop-layers.js";
import { Environment, type EnvironmentOptions } from "./environment.js";
import type { Removed } from "./evict.js";
import { GroupCommit } from "./group-commit.js";
import {
  type ContentKind,
  holdersOf,
  isHeld,
  manifestOfHolder,
  referencesTo,
  removeReference,
  subjectsOf,
} from "./holders.js";
import { HostMemory } from "./hosts.js";
import { digestKey, readReferenceKey, referenceKey, referencePrefix } from "./keys.js";
import { LeaseGroup } from "./lease-group.js";
import { Leases } from "./leases.js";
import { type ListFilter, listImages } from "./list.js";
import { find, findReference } from "./lookup.js";
import { abandonLost, type LostReference, lostReferences } from "./lost.js";
import { type Metrics, metricsOf } from "./metrics.js";
import { type PruneOptions, type PruneResult, prune } from "./prune.js";
import { type Approval, type Publication, type PublishedBlob, publish, putReference } from "./publish.js";
import { quarantine } from "./quarantine.js";
import {
  type BlobEntry,
  type ImageRecord,
  manifestDigestOf,
  type ObjectEntry,
  type PinRecord,
  type ReferrerRecord,
  type RefRecord,
  type RootRecord,
  rootDigestOf,
  type VerdictRecord,
} from "./records.js";
import { type PublishedReferrer, putReferrers, referrersOf } from "./referrers.js";
import { repositories, tagsOf } from "./repositories.js";
import { requireReference } from "./require-reference.js";
import { Scrub, type ScrubOptions, type ScrubReport } from "./scrub/scrub.js";
import { putTrustedRoot, type TrustedRootRecord, trustedRootOf } from "./trusted-root.js";
import { noteUse, pinOf, putPin, removePin } from "./usage.js";
import { decodeManifest, encodeRecord, type StoredManifest } from "./values.js";
import { putVerdict, verdictOf } from "./verdicts.js";
import { isRootWhole, isWhole, ObjectVerifier } from "./whole.js";

export type BlobKind = "config" | "layer";

interface SizedBlob {
  readonly kind: BlobKind;
  readonly digest: Digest;
  readonly size: number;
}

export interface StoreOptions extends EnvironmentOptions {
  readonly limits?: Limits | undefined;
  readonly budget?: Budget | undefined;
}

/**
 * The cache's memory. The life of content: the puller fetches and checks an image outside the database; `publish`
 * makes all of it readable in one transaction; readers see it from then on; when the last reference that holds it is
 * removed or moves on, it goes in that same transaction.
 */
export class Store {
  readonly #environment: Environment;
  readonly #objects: ObjectVerifier;
  readonly #bytecode: BytecodeAccess;
  readonly #leases: Leases;
  readonly #budget: Budget | undefined;
  /** How registries want to be authenticated to. */
  readonly hosts: HostMemory;
  /** What happens to the cache, for monitoring. */
  readonly counters: Counters;

  private constructor(environment: Environment, limits: Limits, budget: Budget | undefined) {
    this.#environment = environment;
    this.#leases = new Leases(environment, limits);
    this.#budget = budget;
    this.#objects = new ObjectVerifier();
    this.#bytecode = new BytecodeAccess(environment, this.#objects);
    this.hosts = new HostMemory(environment);
    this.counters = new Counters(environment);
  }

  /** See `Environment.open`. */
  static open(options: StoreOptions = {}): Store {
    return new Store(Environment.open(options), options.limits ?? defaultLimits, options.budget);
  }

  get directory(): string {
    return this.#environment.directory;
  }

  /** For what keeps a state of its own in the database. */
  get environment(): Environment {
    return this.#environment;
  }

  /** That the files were damaged when they were opened, and what became of them. */
  get recovery(): Recovery | undefined {
    return this.#environment.recovery;
  }

  /** See `compact`. */
  compact(): Promise<Compaction> {
    return compact(this.#environment);
  }

  /** What the reference means on the platform; a digest in it is found under any name. */
  find(reference: Reference, platform: Platform): RootRecord | undefined {
    return this.#readOrMend((environment) => find(environment, reference, platform));
  }

  /** The row of exactly this reference, with when and from where it came. */
  findReference(reference: Reference, platform: Platform): RefRecord | undefined {
    return this.#readOrMend((environment) => findReference(environment, reference, platform));
  }

  /**
   * Whether all of an image is here and its objects, re-hashed, are what a loader will be promised. What is damaged
   * is put into quarantine.
   */
  isIntact(record: RootRecord): boolean {
    return this.#isSound((environment) => {
      const image = recordAt(environment, "images", digestKey(manifestDigestOf(record)));
      return image !== undefined && isWhole(environment, record) && this.#verify(record.objects);
    });
  }

  /** The same of the image alone, whatever leads to it. */
  hasSoundObjects(image: ImageRecord): boolean {
    return this.#isSound(() => this.#verify(image.objects));
  }

  /** For one pull: leases that keep others from fetching the same at the same time. */
  leaseGroup(): LeaseGroup {
    return new LeaseGroup(this.#environment, this.#leases);
  }

  publish(publication: Publication): RefRecord {
    const { approval } = publication;
    if (approval === undefined) return publish(this.#environment, publication, this.#budget);
    return this.#environment.commit(() => {
      const record = publish(this.#environment, publication, this.#budget);
      this.approve(approval);
      return record;
    });
  }

  /** Keeps that a trust policy lets an image be used, and what signs it; nothing, when it has been removed meanwhile. */
  approve({ verdict, referrers }: Approval): void {
    this.#environment.commit(() => {
      putReferrers(this.#environment, verdict.root, referrers, this.#budget);
      putVerdict(this.#environment, verdict);
    });
  }

  /** That this rule of this policy lets the root be used, if that has been decided while it is here. */
  verdict(root: Digest, policy: string, rule: string): VerdictRecord | undefined {
    return this.#environment.snapshot(() => verdictOf(this.#environment, root, policy, rule));
  }

  /** Sigstore's trusted root as its mirror was last found to have it. */
  trustedRoot(mirror: string): TrustedRootRecord | undefined {
    return this.#environment.snapshot(() => trustedRootOf(this.#environment, mirror));
  }

  keepTrustedRoot(mirror: string, record: TrustedRootRecord): void {
    this.#environment.commit(() => putTrustedRoot(this.#environment, mirror, record));
  }

  /**
   * Before they are fetched: whether blobs that are not here can have room, when what `replaced` means now goes.
   * Throws CACHE_FULL.
   */
  requireRoom(blobs: readonly SizedBlob[], replaced?: Pick<RefRecord, "reference" | "platform">): void {
    this.#read((environment) => {
      const missing = blobs.filter(({ kind, digest }) => !isHeld(environment, kind, digest));
      const sizes = new Map(missing.map(({ digest, size }) => [digest, size]));
      const bytes = [...sizes.values()].reduce((sum, size) => sum + size, 0);
      const key = replaced && referenceKey(replaced.reference, replaced.platform);
      requireRoom(environment, this.#budget, bytes, key);
    });
  }

  /** Those layers of an image that prune has dropped. Undefined when the image is not here. */
  droppedLayers(manifest: Digest): readonly BlobEntry[] | undefined {
    return this.#read((environment) => {
      const image = recordAt<ImageRecord>(environment, "images", digestKey(manifest));
      return image && droppedLayers(environment, manifest, image);
    });
  }

  /** See `putLayersBack`. */
  putLayersBack(
    manifest: Digest,
    layers: readonly PublishedBlob[],
  ): { readonly isWhole: boolean; readonly evicted: readonly Removed[] } {
    return putLayersBack(this.#environment, manifest, layers, this.#budget);
  }

  /** See `prune`. */
  prune(options: PruneOptions): Promise<PruneResult> {
    return prune(this.#environment, options);
  }

  usage(): Usage {
    return this.#read((environment) => usageOf(environment, this.#budget));
  }

  /** See `Metrics`. */
  metrics(): Metrics {
    return this.#read((environment) => metricsOf(environment, this.counters.all(), this.#budget));
  }

  /**
   * Keeps documents that refer to a manifest, as long as that is here; nothing, when it has been removed meanwhile.
   * Returns those that are left out because they are what they refer to, directly or in a circle. Throws CACHE_FULL.
   */
  putReferrers(subject: Digest, referrers: readonly PublishedReferrer[]): PublishedReferrer[] {
    return putReferrers(this.#environment, subject, referrers, this.#budget);
  }

  /** What refers to a manifest and is kept with it. */
  referrersOf(subject: Digest): ReferrerRecord[] {
    return this.#read((environment) => referrersOf(environment, subject));
  }

  /** For many at work, so many at the same time: what they write together costs one commit. */
  groupCommit(maxAtWork?: number): GroupCommit {
    return new GroupCommit(this.#environment, maxAtWork);
  }

  /** The load record of a manifest that is here with everything it needs. */
  image(manifest: Digest): ImageRecord | undefined {
    return this.#readOrMend((environment) =>
      recordAt<ImageRecord>(environment, "images", digestKey(manifest)),
    );
  }

  /** Whether the content is here, in whatever state. */
  holds(kind: ContentKind, digest: Digest): boolean {
    return this.#read((environment) => isHeld(environment, kind, digest));
  }

  /** A manifest or index as served, re-hashed; undefined when it is not here. Throws CACHE_CORRUPT when damaged. */
  manifest(digest: Digest): StoredManifest | undefined {
    const bytes = this.#content("manifest", digest);
    return bytes && decodeManifest(bytes);
  }

  /** A blob as served, re-hashed; undefined when it is not here. Throws CACHE_CORRUPT when damaged. */
  blob(kind: BlobKind, digest: Digest): Buffer | undefined {
    return this.#content(kind, digest);
  }

  /**
   * Gives a digest that is here already this name too, so that the content stays as long as the name does. Undefined
   * when it has been removed meanwhile.
   */
  adopt(reference: Reference, platform: Platform, record: RootRecord, now: number): RefRecord | undefined {
    return this.#read((environment) => {
      const own = findReference(environment, reference, platform);
      if (own !== undefined && isWhole(environment, own)) return own;
      return environment.commit(() => adoptRoot(environment, reference, platform, record, now));
    });
  }

  /** The source said that the reference still means the same. Hands in the leases as `publish` does. */
  noteChecked(record: RefRecord, checkedAt: number, leases?: LeaseGroup): void {
    const key = referenceKey(record.reference, record.platform);
    this.#environment.commit(() => {
      leases?.handIn();
      const known = recordAt<RefRecord>(this.#environment, "refs", key);
      // Removed meanwhile, it stays removed; moved meanwhile, nothing was said of what it means now.
      if (known === undefined || rootDigestOf(known) !== rootDigestOf(record)) return;
      const latest = Math.max(known.checkedAt, checkedAt);
      this.#environment.tree("refs").put(key, encodeRecord({ ...known, checkedAt: latest }));
    });
  }

  /** A use that cannot be written, on a full disk or one that fails, only makes the image look less used: whoever reads gets it. */
  noteUse(manifest: Digest, now: number): void {
    try {
      this.#environment.snapshot(() => noteUse(this.#environment, manifest, now));
    } catch (error) {
      const code = error instanceof BpfcacheError ? error.code : undefined;
      if (code !== "CACHE_FULL" && code !== "CACHE_CORRUPT") throw error;
    }
  }

  /** The references and platforms that match, in order of their names. */
  list(filter: ListFilter = {}, onIncomplete?: (reference: string) => void): CachedImage[] {
    return this.#read((environment) => listImages(environment, filter, onIncomplete));
  }

  /**
   * What `list` says of one image, by what the reference means now: another process may have moved it on, and the record's
   * image is gone then. Throws NOT_CACHED when it has been removed meanwhile.
   */
  describe({ reference, platform }: RefRecord): CachedImage {
    return this.#read((environment) => {
      const record = recordAt<RefRecord>(environment, "refs", referenceKey(reference, platform));
      if (record === undefined) throw notCached(parseReference(reference));
      return describeImage(environment, record);
    });
  }

  /** Throws NOT_CACHED. */
  inspect(reference: Reference, platform: Platform): ImageDetails {
    return this.#read((environment) =>
      describeImageFully(environment, requireReference(environment, reference, platform)),
    );
  }

  /** A copy of an object's bytes, re-hashed. Throws NOT_CACHED, CACHE_CORRUPT, or USAGE when the choice is not unique. */
  bytecode(
    reference: Reference,
    platform: Platform,
    options: BytecodeOptions,
    requireTrusted?: RequireTrusted,
  ): Bytecode {
    return this.#noticing(() => this.#bytecode.read(reference, platform, options, requireTrusted));
  }

  withBytecode<T>(
    reference: Reference,
    platform: Platform,
    options: BytecodeOptions,
    use: (view: Uint8Array, description: BytecodeDescription) => T,
    requireTrusted?: RequireTrusted,
  ): T {
    return this.#noticing(() => this.#bytecode.use(reference, platform, options, use, requireTrusted));
  }

  /** Removes a reference, on one platform or on all, with all that nothing else needs. Throws NOT_CACHED. */
  remove(reference: Reference, platform: Platform | undefined): { readonly bytesFreed: number } {
    const name = reference.toString();
    return this.#environment.commit(() => {
      const rows = this.#environment
        .tree("refs")
        .keys(platform === undefined ? referencePrefix(name) : referenceKey(name, formatPlatform(platform)))
        .filter(
          (key) => platform === undefined || readReferenceKey(key).platform === formatPlatform(platform),
        );
      if (!abandonLost(this.#environment, name) && rows.length === 0) throw notCached(reference);
      let bytesFreed = 0;
      for (const key of rows) bytesFreed += removeReference(this.#environment, key);
      if (!this.#environment.tree("refs").hasPrefix(referencePrefix(name)))
        removePin(this.#environment, name);
      return { bytesFreed };
    });
  }

  /** Throws NOT_CACHED. */
  pin(reference: Reference, pin: PinRecord): void {
    this.#environment.commit(() => {
      this.#requireAnyPlatform(reference);
      putPin(this.#environment, reference.toString(), pin);
    });
  }

  /** Returns the pin that was taken away, if there was one. Throws NOT_CACHED. */
  unpin(reference: Reference): PinRecord | undefined {
    return this.#environment.commit(() => {
      this.#requireAnyPlatform(reference);
      const pin = pinOf(this.#environment, reference.toString());
      removePin(this.#environment, reference.toString());
      return pin;
    });
  }

  /** The rows of one reference, one a platform, or of all, in order of their names. */
  references(reference?: Reference): RefRecord[] {
    const prefix = reference && referencePrefix(reference.toString());
    return this.#read((environment) =>
      environment
        .tree("refs")
        .entries(prefix)
        .map(({ key, value }) => decodeRow<RefRecord>("refs", key, value)),
    );
  }

  /** What is here, by name alone and each once: nothing but keys is read, and a name too long for a key is left out. */
  referenceNames(): string[] {
    const names = this.#read((environment) =>
      environment
        .tree("refs")
        .keys()
        .flatMap((key) => readReferenceKey(key).reference ?? []),
    );
    return [...new Set(names)];
  }

  /** The platforms that the reference is here for. */
  platformsOf(reference: Reference): Platform[] {
    return this.#read((environment) =>
      environment
        .tree("refs")
        .keys(referencePrefix(reference.toString()))
        .map((key) => parsePlatform(readReferenceKey(key).platform)),
    );
  }

  /** What the reference names on any platform here: what a registry over this cache answers with. */
  rootOf(reference: Reference): Digest | undefined {
    // Platforms may have been pulled before and after a tag moved: the newest answer counts.
    const [newest] = this.references(reference).sort((a, b) => b.checkedAt - a.checkedAt);
    return newest && rootDigestOf(newest);
  }

  /** The tags of a repository (`host/path`), in order. */
  tagsOf(repository: string): string[] {
    return this.#read((environment) => tagsOf(environment, repository));
  }

  /** Every repository (`host/path`) that something is here of, in order. */
  repositories(): string[] {
    return this.#read(repositories);
  }

  /** Whether some reference of this repository (`host/path`) needs the content: what it may be served under. */
  belongsTo(name: string, kind: "manifest" | BlobKind, digest: Digest): boolean {
    return this.#read((environment) => {
      const manifests =
        kind === "manifest"
          ? [digest]
          : holdersOf(environment, kind, digest).map((holder) => manifestOfHolder(holder));
      return manifests.some((manifest) => isNeededBy(name, environment, manifest));
    });
  }

  close(): void {
    this.#leases.close();
    this.counters.flush();
    this.#environment.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** References that were lost to damage and are to come back. */
  lost(): LostReference[] {
    return this.#read(lostReferences);
  }

  /** See `Scrub`. */
  scrub(options: ScrubOptions): Promise<ScrubReport> {
    return new Scrub(this.#environment, options).run();
  }

  #read<T>(read: (environment: Environment) => T): T {
    return this.#noticing(() => this.#environment.snapshot(() => read(this.#environment)));
  }

  /** A damaged row that was met is put into quarantine, if this process may write; the failure goes on. */
  #noticing<T>(read: () => T): T {
    try {
      return read();
    } catch (error) {
      if (error instanceof DamagedRow && !this.#environment.isReadOnly) {
        this.counters.add("verifyFailures.cache");
        quarantine(this.#environment, error);
      }
      throw error;
    }
  }

  /** What was damaged is not there any more, or has been mended: the second answer says which. */
  #readOrMend<T>(read: (environment: Environment) => T): T {
    try {
      return this.#read(read);
    } catch (error) {
      if (!(error instanceof DamagedRow) || this.#environment.isReadOnly) throw error;
      return this.#read(read);
    }
  }

  #isSound(check: (environment: Environment) => boolean): boolean {
    try {
      return this.#read(check);
    } catch (error) {
      if (error instanceof DamagedRow) return false;
      throw error;
    }
  }

  #verify(objects: readonly ObjectEntry[]): true {
    for (const object of objects) {
      const key = digestKey(object.digest);
      this.#objects.verify(this.#environment.tree("objects").view(key), object);
      if (recordAt(this.#environment, "objectInfo", key) === undefined)
        throw new DamagedRow("objectInfo", key, `what is known of the object ${object.digest} is missing`);
    }
    return true;
  }

  #content(kind: ContentKind, digest: Digest): Buffer | undefined {
    return this.#read((environment) => contentAt(environment, kind, digest));
  }

  #requireAnyPlatform(reference: Reference): void {
    if (!this.#environment.tree("refs").hasPrefix(referencePrefix(reference.toString())))
      throw notCached(reference);
  }
}

function adoptRoot(
  environment: Environment,
  reference: Reference,
  platform: Platform,
  record: RootRecord,
  now: number,
): RefRecord | undefined {
  if (!isRootWhole(environment, record)) return undefined;
  const adopted: RefRecord = {
    ...record,
    reference: reference.toString(),
    platform: formatPlatform(platform),
    source: "cache",
    pulledAt: now,
    checkedAt: now,
  };
  putReference(environment, adopted);
  return adopted;
}

/** A signature belongs where what it signs does. */
function isNeededBy(name: string, environment: Environment, manifest: Digest): boolean {
  return (
    referencesTo(environment, manifest).some((key) => isReferenceOf(name, environment, key)) ||
    subjectsOf(environment, manifest).some((subject) => isNeededBy(name, environment, subject))
  );
}

function isReferenceOf(name: string, environment: Environment, holder: Buffer): boolean {
  const reference = soundRecordAt<RefRecord>(environment, "refs", holder)?.reference;
  if (reference === undefined) return false;
  return reference.startsWith(name) && /^[:@]/.test(reference.slice(name.length));
}
