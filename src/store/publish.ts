import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { type EventSink, emit } from "../core/events.js";
import type { BpfObject } from "../image/elf/bpf-object.js";
import { type Budget, keepWithin } from "./budget.js";
import { contentBytes, putContent } from "./content-bytes.js";
import { recordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { forgetRoot, hold, isHeld, markComplete, releaseReference } from "./holders.js";
import { digestKey, nameKey, referenceKey, rootKey } from "./keys.js";
import type { LeaseGroup } from "./lease-group.js";
import { forgetLost } from "./lost.js";
import {
  type ImageRecord,
  type ObjectRecord,
  type RefRecord,
  rootDigestOf,
  type VerdictRecord,
} from "./records.js";
import type { PublishedReferrer } from "./referrers.js";
import { putLastUse } from "./usage.js";
import { encodeManifest, encodeRecord } from "./values.js";

export interface PublishedManifest {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly bytes: Uint8Array;
}

export interface PublishedBlob {
  readonly digest: Digest;
  readonly bytes: Uint8Array;
}

/** All of one image for one reference and platform, every size and digest in it already checked. */
export interface Publication {
  readonly ref: Omit<RefRecord, "objects" | "chain">;
  /** Root first, platform manifest last. */
  readonly manifests: readonly [PublishedManifest, ...PublishedManifest[]];
  readonly image: ImageRecord;
  /** Whether the reference may come to mean another image than it does here. True unless said otherwise. */
  readonly mayMoveReference?: boolean | undefined;
  /** Config, layers and objects that are not held yet; those that are may be left out. */
  readonly config?: PublishedBlob | undefined;
  readonly layers: readonly PublishedBlob[];
  readonly objects: readonly (PublishedBlob & { readonly facts: BpfObject })[];
  /** What signs it, and that a trust policy lets it be used: readable together with it. */
  readonly approval?: Approval | undefined;
  /** Told of what was evicted to make room. */
  readonly onEvent?: EventSink | undefined;
  /** What kept others from fetching the same; handed in with the publication. */
  readonly leases?: LeaseGroup | undefined;
}

export interface Approval {
  readonly verdict: VerdictRecord;
  /** Documents that refer to the root and are not here yet. */
  readonly referrers: readonly PublishedReferrer[];
}

/**
 * Makes an image readable: manifests, config, layers, objects, indexes, image and reference in one transaction, so
 * that a reader finds the old image or the new one and never half of either. What the reference meant before is let
 * go of in the same transaction, and so is what must go for the budget to be kept. Throws ContentVanished or LeaseLost
 * when it has to be pulled again, CACHE_FULL when too little may go.
 */
export function publish(environment: Environment, publication: Publication, budget?: Budget): RefRecord {
  const { ref, manifests, image } = publication;
  const [root, ...rest] = manifests;
  const manifest = rest.at(-1) ?? root;
  const record: RefRecord = {
    ...ref,
    chain: [root.digest, ...rest.map(({ digest }) => digest)],
    objects: image.objects,
  };
  const evicted = environment.commit(() => {
    const before = contentBytes(environment);
    if (publication.mayMoveReference === false) requireSameRoot(environment, record);
    const isNew = !environment.tree("images").has(digestKey(manifest.digest));
    if (isNew) requireComplete(environment, publication);
    publication.leases?.handIn();
    if (isNew) putImage(environment, manifest.digest, publication);
    for (const each of manifests) putManifest(environment, each);
    putReference(environment, record);
    putLastUse(environment, manifest.digest, record.pulledAt);
    return keepWithin(environment, budget, { before, except: manifest.digest });
  });
  for (const { reference = "", bytes, reason } of evicted)
    emit(publication.onEvent, { event: "evicted", reference, bytes, reason });
  return record;
}

/** Taking in a file must not silently change what names mean here (CVE-2026-50195). Throws USAGE. */
export function requireMayMove(known: RefRecord, root: Digest): void {
  if (rootDigestOf(known) === root) return;
  throw new BpfcacheError("USAGE", `the reference is cached already and means ${rootDigestOf(known)}`, {
    reference: known.reference,
    expected: rootDigestOf(known),
    found: root,
    hint: "Move it with --overwrite.",
  });
}

function requireSameRoot(environment: Environment, record: RefRecord): void {
  const key = referenceKey(record.reference, record.platform);
  const known = recordAt<RefRecord>(environment, "refs", key);
  if (known !== undefined) requireMayMove(known, rootDigestOf(record));
}

/** Only inside `commit`, with all of the chain there. */
export function putReference(environment: Environment, record: RefRecord): void {
  const { reference, platform, chain, objects, platforms } = record;
  const key = referenceKey(reference, platform);
  const previous = recordAt<RefRecord>(environment, "refs", key);
  for (const digest of chain) hold(environment, "manifest", digest, key);
  environment.tree("refs").put(key, encodeRecord(record));
  environment
    .tree("roots")
    .put(rootKey(rootDigestOf(record), platform), encodeRecord({ platform, chain, objects, platforms }));
  forgetLost(environment, reference, platform);
  if (previous === undefined) return;
  const kept = new Set<Digest>(chain);
  const [first, ...others] = previous.chain.filter((digest) => !kept.has(digest));
  if (first !== undefined) releaseReference(environment, key, { ...previous, chain: [first, ...others] });
  forgetRoot(environment, previous);
}

function putImage(environment: Environment, manifest: Digest, publication: Publication): void {
  const { image, config, layers, objects } = publication;
  const holder = digestKey(manifest);
  environment.tree("images").put(holder, encodeRecord(image));
  markComplete(environment, manifest);
  if (config !== undefined) putOnce(environment, "config", config);
  for (const layer of layers) putOnce(environment, "layer", layer);
  for (const object of objects) putObject(environment, object);
  hold(environment, "config", image.config.digest, holder);
  for (const { digest } of image.layers) hold(environment, "layer", digest, holder);
  for (const { digest } of image.objects) hold(environment, "object", digest, holder);
}

/**
 * Content that was left out because it was held may have been removed by another process since. Nothing incomplete
 * is ever published: the puller starts again and fetches what has gone.
 */
function requireComplete(environment: Environment, { image, config, layers, objects }: Publication): void {
  const given = new Set([config, ...layers, ...objects].map((blob) => blob?.digest));
  const needs = [
    { kind: "config" as const, digest: image.config.digest },
    ...image.layers.map(({ digest }) => ({ kind: "layer" as const, digest })),
    ...image.objects.map(({ digest }) => ({ kind: "object" as const, digest })),
  ];
  for (const { kind, digest } of needs) {
    if (!given.has(digest) && !isHeld(environment, kind, digest)) throw new ContentVanished(kind, digest);
  }
}

/** What publication counted on has been removed meanwhile; pulling again brings it back. */
export class ContentVanished extends BpfcacheError {
  constructor(kind: string, digest: Digest) {
    super("CACHE_BUSY", `the ${kind} ${digest} was removed by another process while the image was taken in`, {
      hint: "Try again.",
    });
  }
}

/** Only inside `commit`, before the manifest is held. */
export function putManifest(environment: Environment, { digest, mediaType, bytes }: PublishedManifest): void {
  if (isHeld(environment, "manifest", digest)) return;
  putContent(environment, "manifests", digestKey(digest), encodeManifest(mediaType, bytes));
}

/** Only inside `commit`, before the blob is held. */
export function putOnce(
  environment: Environment,
  kind: "config" | "layer",
  { digest, bytes }: PublishedBlob,
): void {
  if (isHeld(environment, kind, digest)) return;
  putContent(environment, kind === "config" ? "configs" : "layers", digestKey(digest), asBuffer(bytes));
}

function putObject(environment: Environment, { digest, bytes, facts }: Publication["objects"][number]): void {
  if (isHeld(environment, "object", digest)) return;
  const key = digestKey(digest);
  const record: ObjectRecord = { ...facts, size: bytes.byteLength };
  putContent(environment, "objects", key, asBuffer(bytes));
  environment.tree("objectInfo").put(key, encodeRecord(record));
  for (const { name } of facts.programs) environment.tree("byProgram").put(nameKey(name, digest), present);
  for (const { name } of facts.maps) environment.tree("byMap").put(nameKey(name, digest), present);
}

const present = Buffer.of(1);

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
