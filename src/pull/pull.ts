import type { Digest } from "../core/digest.js";
import { BpfcacheError, throwIfAborted } from "../core/errors.js";
import { type EventSink, emit } from "../core/events.js";
import type { Limits } from "../core/limits.js";
import { formatPlatform, type Platform } from "../core/platform.js";
import type { Descriptor } from "../image/descriptor.js";
import { extractImage, formatOf, requireByteOrder } from "../image/extract.js";
import { requireAgreement } from "../image/formats/cross-check.js";
import { parseManifest } from "../image/manifest.js";
import { platformOfEntry, platformsOf, selectPlatform } from "../image/select-platform.js";
import type { LeaseGroup } from "../store/lease-group.js";
import { type Approval, type Publication, type PublishedManifest, requireMayMove } from "../store/publish.js";
import { manifestDigestOf, type ObjectEntry, type RefRecord, rootDigestOf } from "../store/records.js";
import type { Store } from "../store/store.js";
import type { Trust } from "../trust/trust.js";
import { blobsOf, Content, type Downloads } from "./content.js";
import { Decider } from "./decider.js";
import { toRecord, warningsOf } from "./image-record.js";
import { askedReference, type PullOutcome, type PullRequest, type ResolvedRoot } from "./request.js";
import { requireStored } from "./strict.js";

/** One pull under way. Its steps are the private methods, in order. */
export class Pull {
  readonly #store: Store;
  readonly #limits: Limits;
  readonly #leases: LeaseGroup | undefined;
  readonly #request: PullRequest;
  readonly #content: Content;
  readonly #trust: Trust | undefined;
  readonly #startedAt = Date.now();
  #approval: Approval | undefined;

  /** What it publishes hands in the leases; those that are left are for the caller to give back. */
  constructor(
    store: Store,
    limits: Limits,
    downloads: Downloads,
    leases: LeaseGroup | undefined,
    request: PullRequest,
    trust?: Trust,
  ) {
    this.#store = store;
    this.#trust = trust;
    this.#limits = limits;
    this.#leases = leases;
    this.#request = request;
    this.#content = new Content(store, limits, downloads, leases, request);
  }

  async run(): Promise<PullOutcome> {
    try {
      const known = this.#store.findReference(this.#request.reference, this.#request.platform);
      // Of what is damaged here, the source is not told: it might say that it is unchanged.
      const root = await this.#resolve(known && this.#store.isIntact(known) ? known : undefined);
      if (root === undefined && known !== undefined) return await this.#confirm(known);
      if (root === undefined)
        throw new BpfcacheError("INTERNAL", "the source said unchanged of what it was not told");
      if (known !== undefined && this.#request.mayMoveReference === false) requireMayMove(known, root.digest);
      await this.#decide(root);
      const chain = await this.#descend(root);
      const record = (await this.#relink(chain, root.etag)) ?? (await this.#takeIn(chain, root.etag));
      return this.#outcome(this.#content.bytesFetched > 0 ? this.#request.source.name : "cache", record);
    } finally {
      this.#content.leave();
    }
  }

  /** Asks once what the reference names; from here on only digests are asked for. Undefined means: the same as before. */
  async #resolve(known: RefRecord | undefined): Promise<ResolvedRoot | undefined> {
    const { source, root } = this.#request;
    if (root !== undefined) return root;
    const reference = askedReference(this.#request);
    const held = reference.digest && (await this.#content.manifestOnceFree(reference.digest));
    if (reference.digest !== undefined && held !== undefined) {
      this.#content.noteReuse("manifest", reference.digest, held.bytes.byteLength);
      return { digest: reference.digest, ...held };
    }
    emit(this.#request.onEvent, { event: "resolving", reference: this.#request.reference.toString() });
    const resolution =
      reference.digest === undefined
        ? await source.resolve(reference, {
            ...this.#sourceOptions(),
            known: known && { digest: rootDigestOf(known), etag: known.etag },
          })
        : await this.#content.resolveDigest(reference);
    const digest = resolution.unchanged ? known && rootDigestOf(known) : resolution.descriptor.digest;
    const bytesFetched = resolution.unchanged ? resolution.bytesFetched : resolution.bytes.byteLength;
    this.#emitResolved(digest, digest === (known && rootDigestOf(known)), bytesFetched);
    if (resolution.unchanged) {
      this.#content.bytesFetched += resolution.bytesFetched;
      return undefined;
    }
    const { descriptor, bytes, etag } = resolution;
    this.#content.bytesFetched += bytes.byteLength;
    return { digest: descriptor.digest, mediaType: descriptor.mediaType, bytes, etag };
  }

  /** Before anything is fetched by that digest: throws UNTRUSTED when the trust policy in force refuses it. */
  async #decide(root: { readonly digest: Digest; readonly bytes?: Uint8Array }): Promise<void> {
    if (this.#trust === undefined) return;
    const decider = new Decider(this.#store, this.#limits, this.#trust, this.#content, this.#request);
    this.#approval = await decider.approve(root.digest, root.bytes);
  }

  async #confirm(known: RefRecord): Promise<PullOutcome> {
    await this.#decide({ digest: rootDigestOf(known) });
    if (this.#request.strict === true) requireStored(this.#store, known, this.#request.reference);
    emitVerified(this.#request.onEvent, known.reference, known.objects);
    await this.#write(() => {
      if (this.#approval !== undefined) this.#store.approve(this.#approval);
      this.#store.noteChecked(known, Date.now(), this.#leases);
      this.#store.noteUse(manifestDigestOf(known), Date.now());
    }, 0);
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
    const held = await this.#content.manifestOnceFree(descriptor.digest);
    if (held !== undefined) {
      this.#content.noteReuse("manifest", descriptor.digest, held.bytes.byteLength);
      return { digest: descriptor.digest, ...held };
    }
    const bytes = await this.#content.fetch("manifest", descriptor, this.#limits.manifestBytes);
    return { digest: descriptor.digest, mediaType: descriptor.mediaType, bytes };
  }

  /** When the image is here already, only the reference is new. */
  async #relink(
    manifests: readonly [PublishedManifest, ...PublishedManifest[]],
    etag: string | undefined,
  ): Promise<RefRecord | undefined> {
    const digest = lastOf(manifests).digest;
    const image = this.#store.image(digest);
    if (image === undefined || !this.#store.hasSoundObjects(image)) return undefined;
    requireByteOrder(image.objects, this.#request.platform);
    if (this.#request.strict === true) requireAgreement(image.disagreements);
    const bytes = image.objects.reduce((sum, { size }) => sum + size, 0);
    this.#content.noteReuse("image", digest, bytes);
    emitVerified(this.#request.onEvent, this.#request.reference.toString(), image.objects);
    const current = this.#publishedMeanwhile(manifests);
    if (current !== undefined) {
      const approval = this.#approval;
      if (approval !== undefined) await this.#write(() => this.#store.approve(approval), 0);
      this.#emitHit(current);
      return current;
    }
    const record = await this.#publish({
      ref: this.#ref(manifests[0], etag),
      mayMoveReference: this.#request.mayMoveReference,
      manifests,
      image,
      layers: [],
      objects: [],
      approval: this.#approval,
      onEvent: this.#request.onEvent,
      leases: this.#leases,
    });
    this.#emitPublished(record);
    return record;
  }

  /** What another process has just made of the same reference. */
  #publishedMeanwhile(manifests: readonly PublishedManifest[]): RefRecord | undefined {
    const current = this.#store.findReference(this.#request.reference, this.#request.platform);
    const isSame =
      current?.chain.length === manifests.length &&
      manifests.every(({ digest }, index) => digest === current.chain[index]);
    return isSame && current.checkedAt >= this.#startedAt ? current : undefined;
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
    this.#content.requireSizes(manifest);
    await this.#content.leaseBlobs(manifest);
    // Whom this pull waited for may have been taking in the same image under another name.
    const takenIn = await this.#relink(manifests, etag);
    if (takenIn !== undefined) return takenIn;
    this.#store.requireRoom(blobsOf(manifest), this.#ref(manifests[0], etag));
    const content = await this.#content.ofImage(manifest);
    const { platform, strict, signal } = this.#request;
    const entryPlatform = entryPlatformOf(manifests);
    const image = await extractImage(content, platform, {
      limits: this.#limits,
      entryPlatform,
      strict,
      signal,
    });
    throwIfAborted(signal);
    const record = await this.#publish({
      ref: this.#ref(manifests[0], etag),
      mayMoveReference: this.#request.mayMoveReference,
      manifests,
      image: toRecord(manifest, image),
      config: { digest: manifest.config.digest, bytes: content.config },
      layers: content.layers.map((layer) => ({ digest: layer.descriptor.digest, bytes: layer.bytes })),
      objects: image.objects,
      approval: this.#approval,
      onEvent: this.#request.onEvent,
      leases: this.#leases,
    });
    for (const message of warningsOf(image)) this.#warn(message);
    emitVerified(this.#request.onEvent, record.reference, record.objects);
    this.#emitPublished(record);
    return record;
  }

  #publish(publication: Publication): Promise<RefRecord> {
    const bytes = [...publication.layers, ...publication.objects].map((blob) => blob.bytes.byteLength);
    return this.#write(
      () => this.#store.publish(publication),
      bytes.reduce((sum, size) => sum + size, 0),
    );
  }

  /** Now, or together with what others at work have to write. */
  async #write<T>(write: () => T, bytes: number): Promise<T> {
    const { group } = this.#request;
    return group === undefined ? write() : group.run(write, bytes);
  }

  #ref(root: PublishedManifest, etag: string | undefined): Omit<RefRecord, "chain" | "objects"> {
    const { reference, platform, source } = this.#request;
    const index = parseManifest(root.bytes, root.mediaType);
    const now = Date.now();
    return {
      reference: reference.toString(),
      platform: formatPlatform(platform),
      source: this.#request.root?.source ?? source.name,
      pulledAt: now,
      checkedAt: this.#request.root?.checkedAt ?? now,
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
    return { signal, onEvent, onRequest: () => this.#content.requests++ };
  }

  #outcome(from: string, record: RefRecord): PullOutcome {
    const { requests, bytesFetched } = this.#content;
    return { from, requests, bytesFetched, record, verdict: this.#approval?.verdict };
  }

  #emitResolved(digest: Digest | undefined, unchanged: boolean, bytes: number): void {
    if (digest === undefined) return;
    emit(this.#request.onEvent, {
      event: "resolved",
      reference: this.#request.reference.toString(),
      digest,
      unchanged,
      bytes,
    });
  }

  #emitHit(record: RefRecord): void {
    emit(this.#request.onEvent, {
      event: "hit",
      reference: record.reference,
      digest: rootDigestOf(record),
      reason: "shared",
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

/** Says of an image's objects that they have just been hashed. */
export function emitVerified(
  onEvent: EventSink | undefined,
  reference: string,
  objects: readonly ObjectEntry[],
): void {
  for (const { digest, size } of objects)
    emit(onEvent, { event: "verified", reference, digest, bytes: size });
}

function lastOf(manifests: readonly [PublishedManifest, ...PublishedManifest[]]): PublishedManifest {
  return manifests.at(-1) ?? manifests[0];
}

/** What the index over a manifest says that it is for. */
function entryPlatformOf(chain: readonly [PublishedManifest, ...PublishedManifest[]]): Platform | undefined {
  const parent = chain.at(-2);
  const index = parent && parseManifest(parent.bytes, parent.mediaType);
  return index?.kind === "index" ? platformOfEntry(index, lastOf(chain)) : undefined;
}
