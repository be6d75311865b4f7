import type { Digest } from "../core/digest.js";
import { formatPlatform, type Platform, parsePlatform } from "../core/platform.js";
import { parseReference, type Reference } from "../core/reference.js";
import {
  type Bytecode,
  BytecodeAccess,
  type BytecodeDescription,
  type BytecodeOptions,
  notCached,
} from "./bytecode.js";
import { type CachedImage, describeImage, describeImageFully, type ImageDetails } from "./catalog.js";
import { DamagedRow, decodeRow, recordAt, soundRecordAt } from "./damaged-row.js";
import { Environment, type EnvironmentOptions } from "./environment.js";
import {
  type ContentKind,
  contentTrees,
  holdersOf,
  isHeld,
  manifestOfHolder,
  releaseHolder,
  releaseReference,
} from "./holders.js";
import { HostMemory } from "./hosts.js";
import { digestKey, readReferenceKey, referenceKey, referencePrefix } from "./keys.js";
import { type ListFilter, listImages } from "./list.js";
import { find, findReference } from "./lookup.js";
import { abandonLost, type LostReference, lostReferences } from "./lost.js";
import { type Publication, publish, putReference } from "./publish.js";
import { hashOfContent, type QuarantineNote, quarantine, quarantineNotes } from "./quarantine.js";
import {
  type ImageRecord,
  manifestDigestOf,
  type ObjectEntry,
  type PinRecord,
  type RefRecord,
  type RootRecord,
} from "./records.js";
import { Scrub, type ScrubOptions, type ScrubReport } from "./scrub/scrub.js";
import { noteUse, pinOf, putPin, removePin } from "./usage.js";
import { decodeManifest, encodeRecord, type StoredManifest } from "./values.js";
import { isRootWhole, isWhole, ObjectVerifier } from "./whole.js";

export type BlobKind = "config" | "layer";

/**
 * The cache's memory. The life of content: the puller fetches and checks an image outside the database; `publish`
 * makes all of it readable in one transaction; readers see it from then on; when the last reference that holds it is
 * removed or moves on, it goes in that same transaction.
 */
export class Store {
  readonly #environment: Environment;
  readonly #objects: ObjectVerifier;
  readonly #bytecode: BytecodeAccess;
  /** How registries want to be authenticated to. */
  readonly hosts: HostMemory;

  private constructor(environment: Environment) {
    this.#environment = environment;
    this.#objects = new ObjectVerifier();
    this.#bytecode = new BytecodeAccess(environment, this.#objects);
    this.hosts = new HostMemory(environment);
  }

  /** See `Environment.open`. */
  static open(options: EnvironmentOptions = {}): Store {
    return new Store(Environment.open(options));
  }

  get directory(): string {
    return this.#environment.directory;
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

  publish(publication: Publication): RefRecord {
    return publish(this.#environment, publication);
  }

  /** The load record of a manifest that is here with everything it needs. */
  image(manifest: Digest): ImageRecord | undefined {
    return this.#readOrMend((environment) =>
      recordAt<ImageRecord>(environment, "images", digestKey(manifest)),
    );
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

  /** The source said that the reference still means the same. */
  noteChecked(record: RefRecord, checkedAt: number): void {
    const key = referenceKey(record.reference, record.platform);
    this.#environment.commit(() => {
      const known = recordAt<RefRecord>(this.#environment, "refs", key);
      if (known === undefined) return; // Removed meanwhile; it stays removed.
      this.#environment.tree("refs").put(key, encodeRecord({ ...known, checkedAt }));
    });
  }

  noteUse(manifest: Digest, now: number): void {
    this.#environment.snapshot(() => noteUse(this.#environment, manifest, now));
  }

  /** The references and platforms that match, in order of their names. */
  list(filter: ListFilter = {}, onIncomplete?: (reference: string) => void): CachedImage[] {
    return this.#read((environment) => listImages(environment, filter, onIncomplete));
  }

  /** What `list` says of one image. Throws NOT_CACHED when it has been removed meanwhile. */
  describe(record: RefRecord): CachedImage {
    return this.#read((environment) => {
      if (!environment.tree("images").has(digestKey(manifestDigestOf(record)))) {
        throw notCached(parseReference(record.reference));
      }
      return describeImage(environment, record);
    });
  }

  /** Throws NOT_CACHED. */
  inspect(reference: Reference, platform: Platform): ImageDetails {
    return this.#read((environment) => describeImageFully(environment, this.#require(reference, platform)));
  }

  /** A copy of an object's bytes, re-hashed. Throws NOT_CACHED, CACHE_CORRUPT, or USAGE when the choice is not unique. */
  bytecode(reference: Reference, platform: Platform, options: BytecodeOptions): Bytecode {
    return this.#noticing(() => this.#bytecode.read(reference, platform, options));
  }

  withBytecode<T>(
    reference: Reference,
    platform: Platform,
    options: BytecodeOptions,
    use: (view: Uint8Array, description: BytecodeDescription) => T,
  ): T {
    return this.#noticing(() => this.#bytecode.use(reference, platform, options, use));
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
    return this.#read((environment) => {
      const records = environment
        .tree("refs")
        .entries(referencePrefix(reference.toString()))
        .map(({ key, value }) => decodeRow<RefRecord>("refs", key, value));
      // Platforms may have been pulled before and after a tag moved: the newest answer counts.
      return records.sort((a, b) => b.checkedAt - a.checkedAt)[0]?.chain[0];
    });
  }

  /** Whether some reference of this repository (`host/path`) needs the content: what it may be served under. */
  belongsTo(name: string, kind: "manifest" | BlobKind, digest: Digest): boolean {
    return this.#read((environment) => {
      const manifests =
        kind === "manifest"
          ? [digest]
          : holdersOf(environment, kind, digest).map((holder) => manifestOfHolder(holder));
      return manifests.some((manifest) =>
        holdersOf(environment, "manifest", manifest).some((holder) =>
          isReferenceOf(name, environment, holder),
        ),
      );
    });
  }

  close(): void {
    this.#environment.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** References that were lost to damage and are to come back. */
  lost(): LostReference[] {
    return this.#read(lostReferences);
  }

  /** What has been found damaged, oldest first. */
  quarantined(): QuarantineNote[] {
    return this.#read(quarantineNotes);
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
      if (error instanceof DamagedRow && !this.#environment.isReadOnly) quarantine(this.#environment, error);
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
    return this.#read((environment) => {
      if (!isHeld(environment, kind, digest)) return undefined;
      const tree = contentTrees[kind];
      const bytes = environment.tree(tree).get(digestKey(digest));
      if (bytes !== undefined && hashOfContent(kind, bytes, digest) === digest) return bytes;
      throw new DamagedRow(tree, digestKey(digest), `the ${kind} ${digest} is damaged in the cache`);
    });
  }

  #require(reference: Reference, platform: Platform): RefRecord {
    const exact = findReference(this.#environment, reference, platform);
    if (exact !== undefined) return exact;
    const found = find(this.#environment, reference, platform);
    const holder = found && this.#anyReferenceTo(found);
    if (found === undefined || holder === undefined) throw notCached(reference);
    return { ...holder, ...found, reference: reference.toString() };
  }

  /** A digest may be asked for under a name it was not taken in by: times and source are then those of one it was. */
  #anyReferenceTo(record: RootRecord): RefRecord | undefined {
    const [holder] = holdersOf(this.#environment, "manifest", manifestDigestOf(record));
    return holder && recordAt<RefRecord>(this.#environment, "refs", holder);
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

/** Also one whose record is damaged. Only inside `commit`. */
function removeReference(environment: Environment, key: Buffer): number {
  const record = soundRecordAt<RefRecord>(environment, "refs", key);
  environment.tree("refs").remove(key);
  return record === undefined ? releaseHolder(environment, key) : releaseReference(environment, key, record);
}

function isReferenceOf(name: string, environment: Environment, holder: Buffer): boolean {
  const reference = soundRecordAt<RefRecord>(environment, "refs", holder)?.reference;
  if (reference === undefined) return false;
  return reference.startsWith(name) && /^[:@]/.test(reference.slice(name.length));
}
