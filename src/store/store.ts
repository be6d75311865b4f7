import { type Digest, verifyDigest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
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
import { Environment, type EnvironmentOptions } from "./environment.js";
import { holdersOf, isHeld, manifestOfHolder, releaseReference } from "./holders.js";
import { HostMemory } from "./hosts.js";
import { digestKey, referenceKey, referencePrefix } from "./keys.js";
import { type ListFilter, listImages } from "./list.js";
import { find, findReference } from "./lookup.js";
import { type Publication, publish, putReference } from "./publish.js";
import {
  type ImageRecord,
  manifestDigestOf,
  type PinRecord,
  type RefRecord,
  type RootRecord,
} from "./records.js";
import { noteUse, pinOf, putPin, removePin } from "./usage.js";
import { decodeManifest, decodeRecord, encodeRecord, type StoredManifest } from "./values.js";

export type BlobKind = "config" | "layer";

/**
 * The cache's memory. The life of content: the puller fetches and checks an image outside the database; `publish`
 * makes all of it readable in one transaction; readers see it from then on; when the last reference that holds it is
 * removed or moves on, it goes in that same transaction.
 */
export class Store {
  readonly #environment: Environment;
  readonly #bytecode: BytecodeAccess;
  /** How registries want to be authenticated to. */
  readonly hosts: HostMemory;

  private constructor(environment: Environment) {
    this.#environment = environment;
    this.#bytecode = new BytecodeAccess(environment);
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
    return this.#read((environment) => find(environment, reference, platform));
  }

  /** The row of exactly this reference, with when and from where it came. */
  findReference(reference: Reference, platform: Platform): RefRecord | undefined {
    return this.#read((environment) => findReference(environment, reference, platform));
  }

  publish(publication: Publication): RefRecord {
    return publish(this.#environment, publication);
  }

  /** The load record of a manifest that is here with everything it needs. */
  image(manifest: Digest): ImageRecord | undefined {
    const row = this.#read((environment) => environment.tree("images").get(digestKey(manifest)));
    return row === undefined ? undefined : decodeRecord<ImageRecord>(row);
  }

  /** A manifest or index as served, re-hashed; undefined when it is not here. Throws DIGEST_MISMATCH when damaged. */
  manifest(digest: Digest): StoredManifest | undefined {
    const row = this.#read((environment) => environment.tree("manifests").get(digestKey(digest)));
    if (row === undefined) return undefined;
    const manifest = decodeManifest(row);
    verifyDigest(manifest.bytes, digest, "a manifest in the cache");
    return manifest;
  }

  /** A blob as served, re-hashed; undefined when it is not here. Throws DIGEST_MISMATCH when damaged. */
  blob(kind: BlobKind, digest: Digest): Buffer | undefined {
    const bytes = this.#read((environment) =>
      isHeld(environment, kind, digest)
        ? environment.tree(kind === "config" ? "configs" : "layers").get(digestKey(digest))
        : undefined,
    );
    if (bytes !== undefined) verifyDigest(bytes, digest, `a ${kind} in the cache`);
    return bytes;
  }

  /**
   * Gives a digest that is here already this name too, so that the content stays as long as the name does. Undefined
   * when it has been removed meanwhile.
   */
  adopt(reference: Reference, platform: Platform, record: RootRecord, now: number): RefRecord | undefined {
    return this.#read((environment) => {
      const own = findReference(environment, reference, platform);
      return own ?? environment.commit(() => adoptRoot(environment, reference, platform, record, now));
    });
  }

  /** The source said that the reference still means the same. */
  noteChecked(record: RefRecord, checkedAt: number): void {
    const key = referenceKey(record.reference, record.platform);
    this.#environment.commit(() => {
      const row = this.#environment.tree("refs").get(key);
      if (row === undefined) return; // Removed meanwhile; it stays removed.
      this.#environment.tree("refs").put(key, encodeRecord({ ...decodeRecord<RefRecord>(row), checkedAt }));
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
  list(filter: ListFilter = {}): CachedImage[] {
    return this.#read((environment) => listImages(environment, filter));
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
    return this.#bytecode.read(reference, platform, options);
  }

  withBytecode<T>(
    reference: Reference,
    platform: Platform,
    options: BytecodeOptions,
    use: (view: Uint8Array, description: BytecodeDescription) => T,
  ): T {
    return this.#bytecode.use(reference, platform, options, use);
  }

  /** Removes a reference, on one platform or on all, with all that nothing else needs. Throws NOT_CACHED. */
  remove(reference: Reference, platform: Platform | undefined): { readonly bytesFreed: number } {
    const name = reference.toString();
    return this.#environment.commit(() => {
      const rows = this.#environment
        .tree("refs")
        .entries(
          platform === undefined ? referencePrefix(name) : referenceKey(name, formatPlatform(platform)),
        )
        .map(({ key, value }) => ({ key, record: decodeRecord<RefRecord>(value) }))
        .filter(({ record }) => platform === undefined || record.platform === formatPlatform(platform));
      if (rows.length === 0) throw notCached(reference);
      let bytesFreed = 0;
      for (const { key, record } of rows) {
        this.#environment.tree("refs").remove(key);
        bytesFreed += releaseReference(this.#environment, key, record);
      }
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
        .entries(referencePrefix(reference.toString()))
        .map(({ value }) => parsePlatform(decodeRecord<RefRecord>(value).platform)),
    );
  }

  /** What the reference names on any platform here: what a registry over this cache answers with. */
  rootOf(reference: Reference): Digest | undefined {
    return this.#read((environment) => {
      const records = environment
        .tree("refs")
        .entries(referencePrefix(reference.toString()))
        .map(({ value }) => decodeRecord<RefRecord>(value));
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

  #read<T>(read: (environment: Environment) => T): T {
    return this.#environment.snapshot(() => read(this.#environment));
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
    const row = holder && this.#environment.tree("refs").get(holder);
    return row && decodeRecord<RefRecord>(row);
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
  if (!record.chain.every((digest) => isHeld(environment, "manifest", digest))) return undefined;
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

function isReferenceOf(name: string, environment: Environment, holder: Buffer): boolean {
  const row = environment.tree("refs").get(holder);
  if (row === undefined) return false;
  const { reference } = decodeRecord<RefRecord>(row);
  return reference.startsWith(name) && /^[:@]/.test(reference.slice(name.length));
}
