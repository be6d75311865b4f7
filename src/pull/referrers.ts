import pLimit from "p-limit";
import type { Digest } from "../core/digest.js";
import { BpfcacheError, type ErrorCode } from "../core/errors.js";
import { emit } from "../core/events.js";
import type { Limits } from "../core/limits.js";
import { attestationsOf } from "../image/attestations.js";
import type { Descriptor } from "../image/descriptor.js";
import { artifactTypeOf, isSignature, statementOf } from "../image/formats/signature.js";
import { type ImageIndex, type ImageManifest, parseManifest } from "../image/manifest.js";
import { manifestMediaTypes } from "../image/media-types.js";
import type { Referrer } from "../source/image-source.js";
import type { ReferrerBlob, ReferrerRecord, RootRecord } from "../store/records.js";
import type { PublishedReferrer } from "../store/referrers.js";
import type { Store } from "../store/store.js";
import { Content, type Downloads } from "./content.js";
import type { PullOutcome, PullRequest } from "./request.js";

const atATime = 4;

/** Failures of one document, which say nothing of the others or of the source; with any other code the pull fails. */
const malformed: ReadonlySet<ErrorCode> = new Set(["INVALID_IMAGE", "DIGEST_MISMATCH", "NOT_FOUND"]);

/**
 * Keeps what refers to the images and is not here yet, when the request wants that: signatures, attestations, SBOMs. None
 * that is here is given up, whatever the source says now, but for one whose tag has moved to another. Documents that
 * are malformed, or more than the limits allow, are left out with a warning; what cannot be reached is an error.
 */
export async function keepReferrers(
  store: Store,
  limits: Limits,
  downloads: Downloads,
  request: PullRequest,
  records: readonly RootRecord[],
): Promise<Pick<PullOutcome, "requests" | "bytesFetched">> {
  const isAsked = request.referrers === true && request.policy !== "Never";
  if (!isAsked || request.source.referrers === undefined) {
    if (isAsked && request.source.isLocal !== true) warnOfIgnorance(request);
    return { requests: 0, bytesFetched: 0 };
  }
  const content = new Content(store, limits, downloads, undefined, request);
  try {
    const keeper = new ReferrerKeeper(store, limits, request, content);
    let subjects = new Set<Digest>(records.flatMap(({ chain }) => chain));
    const indexes = indexesOf(store, subjects);
    for (let depth = 0; depth < limits.referrerDepth && subjects.size > 0; depth++)
      subjects = new Set(await keeper.keepAll([...subjects], depth === 0 ? indexes : []));
    return { requests: content.requests, bytesFetched: content.bytesFetched };
  } finally {
    content.leave();
  }
}

/** What is found about an image, by the source or in the image's own index. */
interface Found extends Referrer {
  readonly isInIndex?: boolean;
}

/** Those of the manifests that are indexes. */
function indexesOf(store: Store, manifests: ReadonlySet<Digest>): ImageIndex[] {
  return [...manifests].flatMap((digest) => {
    const held = store.manifest(digest);
    const document = held && parseManifest(held.bytes, held.mediaType);
    return document?.kind === "index" ? [document] : [];
  });
}

function warnOfIgnorance({ onEvent, reference, source }: PullRequest): void {
  const message = `signatures and attestations are not kept: ${source.name} is not asked for them`;
  emit(onEvent, { event: "warning", reference: reference.toString(), message });
}

/** What was found that refers to a root. */
export interface FoundReferrers {
  /** Those that are not here yet. */
  readonly referrers: readonly PublishedReferrer[];
  /** Those that cannot be used, and why. */
  readonly faults: readonly { readonly digest: Digest; readonly reason: string }[];
}

/**
 * What the source has that refers to a root and is not here yet: for a trust policy to decide on, before anything of
 * the image is fetched. A list that cannot be had or read is an error: whoever asks must not take it for an empty one.
 */
export async function findReferrers(
  store: Store,
  limits: Limits,
  content: Content,
  request: PullRequest,
  root: Digest,
): Promise<FoundReferrers> {
  return new ReferrerKeeper(store, limits, request, content).find(root);
}

class ReferrerKeeper {
  readonly #store: Store;
  readonly #limits: Limits;
  readonly #request: PullRequest;
  readonly #content: Content;
  readonly #atATime = pLimit(atATime);
  /** What may still be kept with this image. */
  #count: number;
  #bytes: number;

  constructor(store: Store, limits: Limits, request: PullRequest, content: Content) {
    this.#store = store;
    this.#limits = limits;
    this.#request = request;
    this.#content = content;
    this.#count = limits.referrers;
    this.#bytes = limits.referrerBytes;
  }

  /** Returns what may have referrers of its own. `indexes` are those that name the subjects. */
  async keepAll(subjects: readonly Digest[], indexes: readonly ImageIndex[]): Promise<Digest[]> {
    const held = subjects.flatMap((subject) => this.#store.referrersOf(subject));
    for (const record of held) this.#hasRoomFor(sizeOf(record));
    const lists = await Promise.all(subjects.map((subject) => this.#list(subject)));
    const kept = await Promise.all(
      subjects.map((subject, at) => {
        const listed: readonly Found[] = lists[at] ?? [];
        const attested = indexes
          .flatMap((index) => attestationsOf(index, subject))
          .filter(({ digest }) => !listed.some((other) => other.digest === digest))
          .map((entry) => ({ ...entry, isInIndex: true }));
        return this.#keep(subject, [...listed, ...attested], held);
      }),
    );
    return [...held, ...kept.flat()].filter(({ kind }) => !isSignature(kind)).map(({ digest }) => digest);
  }

  async find(root: Digest): Promise<FoundReferrers> {
    const held = this.#store.referrersOf(root);
    for (const record of held) this.#hasRoomFor(sizeOf(record));
    const listed = await this.#ask(root);
    const missing = listed.filter((found) => !held.some((record) => isSame(record, root, found)));
    const room = missing.filter(({ size }) => this.#hasRoomFor(size));
    const faults = missing
      .filter((found) => !room.includes(found))
      .map(({ digest }) => ({ digest, reason: "it is more than is kept of an image" }));
    const referrers: PublishedReferrer[] = [];
    const take = async (found: Referrer): Promise<void> => {
      try {
        referrers.push(await this.#fetch(root, found));
      } catch (error) {
        if (!(error instanceof BpfcacheError) || !malformed.has(error.code)) throw error;
        faults.push({ digest: found.digest, reason: `it cannot be used: ${error.message}` });
      }
    };
    await Promise.all(room.map((found) => this.#atATime(() => take(found))));
    return { referrers, faults };
  }

  async #list(subject: Digest): Promise<readonly Referrer[]> {
    try {
      return await this.#ask(subject);
    } catch (error) {
      this.#warnOf(error, `what refers to ${subject} is not kept`);
      return [];
    }
  }

  async #ask(subject: Digest): Promise<readonly Referrer[]> {
    const { source, reference, signal, onEvent } = this.#request;
    const options = { signal, onEvent, onRequest: () => this.#content.requests++ };
    return (await source.referrers?.(reference, subject, options)) ?? [];
  }

  /** All that is new of one subject, in one transaction. */
  async #keep(
    subject: Digest,
    listed: readonly Found[],
    held: readonly ReferrerRecord[],
  ): Promise<ReferrerRecord[]> {
    const missing = listed.filter((found) => !held.some((record) => isSame(record, subject, found)));
    const room = missing.filter(({ size }) => this.#hasRoomFor(size));
    const fetched = await Promise.all(
      room.map((found) => this.#atATime(() => this.#fetchUnlessMalformed(subject, found))),
    );
    const referrers = fetched.filter((referrer) => referrer !== undefined);
    const leftOut = this.#store.putReferrers(subject, referrers);
    for (const { record } of leftOut)
      this.#warn(`${record.digest} is left out: it refers to ${subject}, and that to it`);
    if (room.length < missing.length) {
      const { referrers: most, referrerBytes } = this.#limits;
      this.#warn(
        `not all that refers to ${subject} is kept: at most ${most} documents of ${referrerBytes} bytes are`,
      );
    }
    return referrers.filter((referrer) => !leftOut.includes(referrer)).map(({ record }) => record);
  }

  /** Takes the room, when there is that much. */
  #hasRoomFor(bytes: number): boolean {
    if (this.#count < 1 || this.#bytes < bytes) return false;
    this.#count--;
    this.#bytes -= bytes;
    return true;
  }

  async #fetchUnlessMalformed(subject: Digest, found: Found): Promise<PublishedReferrer | undefined> {
    try {
      return await this.#fetch(subject, found);
    } catch (error) {
      this.#warnOf(error, `${found.digest}, which refers to ${subject}, is left out`);
      return undefined;
    }
  }

  async #fetch(subject: Digest, found: Found): Promise<PublishedReferrer> {
    const { mediaType, digest, size, tag, data } = found;
    if (data === undefined && !manifestMediaTypes.has(mediaType))
      throw new BpfcacheError("INVALID_IMAGE", `it is no manifest but ${mediaType}`);
    const bytes = await this.#content.fetch(
      "manifest",
      { mediaType, digest, size, data },
      this.#limits.manifestBytes,
    );
    const isTied = tag !== undefined || found.isInIndex === true;
    const manifest = requireReferrer(parseManifest(bytes, mediaType), subject, isTied);
    const isInIndex = found.isInIndex === true && manifest.subject === undefined ? true : undefined;
    const record = this.#recordOf(manifest, { subject, digest, size, tag, isInIndex });
    const contentBytes = sizeOf(record) - size;
    if (contentBytes > this.#bytes)
      throw new BpfcacheError(
        "INVALID_IMAGE",
        `its ${contentBytes} bytes are more than are kept of an image`,
      );
    this.#bytes -= contentBytes;
    const { config, layers } = await this.#content.ofImage(manifest);
    return { record, manifest: bytes, blobs: [config, ...layers.map((layer) => layer.bytes)] };
  }

  #recordOf(
    manifest: ImageManifest,
    about: Pick<ReferrerRecord, "subject" | "digest" | "size" | "tag" | "isInIndex">,
  ): ReferrerRecord {
    const { mediaType, config, layers, annotations = {} } = manifest;
    // The manifest has them too: in the record, which every look at the image reads, long ones are left out.
    const areShort = JSON.stringify(annotations).length <= this.#limits.labelBytes;
    return {
      ...about,
      artifactType: artifactTypeOf(manifest),
      kind: statementOf(manifest)?.name,
      mediaType,
      annotations: areShort ? annotations : undefined,
      blobs: [blobOf("config", config), ...layers.map((layer) => blobOf("layer", layer))],
    };
  }

  #warnOf(error: unknown, what: string): void {
    if (!(error instanceof BpfcacheError) || !malformed.has(error.code)) throw error;
    this.#warn(`${what}: ${error.message}`);
  }

  #warn(message: string): void {
    const { onEvent, reference } = this.#request;
    emit(onEvent, { event: "warning", reference: reference.toString(), message });
  }
}

function isSame(record: ReferrerRecord, subject: Digest, { digest, tag }: Referrer): boolean {
  return record.subject === subject && record.digest === digest && (tag === undefined || record.tag === tag);
}

function sizeOf({ size, blobs }: ReferrerRecord): number {
  return blobs.reduce((sum, blob) => sum + blob.size, size);
}

function blobOf(kind: ReferrerBlob["kind"], { digest, mediaType, size }: Descriptor): ReferrerBlob {
  return { kind, digest, mediaType, size };
}

/**
 * A document belongs to its subject by its own word; one that is tied to it, by a tag made of the subject's digest or by
 * the index that has both, need not say so.
 */
function requireReferrer(
  manifest: ReturnType<typeof parseManifest>,
  subject: Digest,
  isTied: boolean,
): ImageManifest {
  if (manifest.kind !== "manifest") throw new BpfcacheError("INVALID_IMAGE", "it is an index");
  const named = manifest.subject?.digest;
  if (named !== subject && (named !== undefined || !isTied))
    throw new BpfcacheError("INVALID_IMAGE", `it refers to ${named ?? "nothing"}`);
  // A key of the store, and a line of a terminal.
  if (!/^[\x20-\x7e]{1,255}$/.test(artifactTypeOf(manifest)))
    throw new BpfcacheError("INVALID_IMAGE", "its artifact type is no media type");
  return manifest;
}
