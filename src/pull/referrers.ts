import pLimit from "p-limit";
import type { Digest } from "../core/digest.js";
import { BpfcacheError, type ErrorCode } from "../core/errors.js";
import { emit } from "../core/events.js";
import type { Limits } from "../core/limits.js";
import type { Descriptor } from "../image/descriptor.js";
import { artifactTypeOf, isSignature, statementOf } from "../image/formats/signature.js";
import { type ImageManifest, parseManifest } from "../image/manifest.js";
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
    for (let depth = 0; depth < limits.referrerDepth && subjects.size > 0; depth++)
      subjects = new Set(await keeper.keepAll([...subjects]));
    return { requests: content.requests, bytesFetched: content.bytesFetched };
  } finally {
    content.leave();
  }
}

function warnOfIgnorance({ onEvent, reference, source }: PullRequest): void {
  const message = `signatures and attestations are not kept: ${source.name} is not asked for them`;
  emit(onEvent, { event: "warning", reference: reference.toString(), message });
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

  /** Returns what may have referrers of its own. */
  async keepAll(subjects: readonly Digest[]): Promise<Digest[]> {
    const held = subjects.flatMap((subject) => this.#store.referrersOf(subject));
    for (const record of held) this.#hasRoomFor(sizeOf(record));
    const lists = await Promise.all(subjects.map((subject) => this.#list(subject)));
    const kept = await Promise.all(
      subjects.map((subject, index) => this.#keep(subject, lists[index] ?? [], held)),
    );
    return [...held, ...kept.flat()].filter(({ kind }) => !isSignature(kind)).map(({ digest }) => digest);
  }

  async #list(subject: Digest): Promise<readonly Referrer[]> {
    const { source, reference, signal, onEvent } = this.#request;
    const options = { signal, onEvent, onRequest: () => this.#content.requests++ };
    try {
      return (await source.referrers?.(reference, subject, options)) ?? [];
    } catch (error) {
      this.#warnOf(error, `what refers to ${subject} is not kept`);
      return [];
    }
  }

  /** All that is new of one subject, in one transaction. */
  async #keep(
    subject: Digest,
    listed: readonly Referrer[],
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

  async #fetchUnlessMalformed(subject: Digest, found: Referrer): Promise<PublishedReferrer | undefined> {
    try {
      return await this.#fetch(subject, found);
    } catch (error) {
      this.#warnOf(error, `${found.digest}, which refers to ${subject}, is left out`);
      return undefined;
    }
  }

  async #fetch(subject: Digest, found: Referrer): Promise<PublishedReferrer> {
    const { mediaType, digest, size, tag, data } = found;
    if (data === undefined && !manifestMediaTypes.has(mediaType))
      throw new BpfcacheError("INVALID_IMAGE", `it is no manifest but ${mediaType}`);
    const bytes = await this.#content.fetch(
      "manifest",
      { mediaType, digest, size, data },
      this.#limits.manifestBytes,
    );
    const manifest = requireReferrer(parseManifest(bytes, mediaType), subject, tag);
    const record = this.#recordOf(manifest, { subject, digest, size, tag });
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
    about: Pick<ReferrerRecord, "subject" | "digest" | "size" | "tag">,
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

/** A document belongs to its subject by its own word; one found by a tag made of the subject's digest need not say so. */
function requireReferrer(
  manifest: ReturnType<typeof parseManifest>,
  subject: Digest,
  tag: string | undefined,
): ImageManifest {
  if (manifest.kind !== "manifest") throw new BpfcacheError("INVALID_IMAGE", "it is an index");
  const named = manifest.subject?.digest;
  if (named !== subject && (named !== undefined || tag === undefined))
    throw new BpfcacheError("INVALID_IMAGE", `it refers to ${named ?? "nothing"}`);
  // A key of the store, and a line of a terminal.
  if (!/^[\x20-\x7e]{1,255}$/.test(artifactTypeOf(manifest)))
    throw new BpfcacheError("INVALID_IMAGE", "its artifact type is no media type");
  return manifest;
}
