import type { Digest } from "../core/digest.js";
import type { Budget } from "./budget.js";
import { type ContentTree, contentBytes, sizeOf } from "./content-bytes.js";
import type { Environment } from "./environment.js";
import { type ContentKind, holdersOf, isHeldBy } from "./holders.js";
import { digestKey } from "./keys.js";
import { type ImageRecord, manifestDigestOf, type ReferrerRecord, type RefRecord } from "./records.js";
import { allReferrersOf } from "./referrers.js";
import { decodeRecord } from "./values.js";

export interface ImageUsage {
  readonly reference: string;
  readonly platform: string;
  /** All that it needs, whatever else needs it too. */
  readonly bytes: number;
  /** What removing it alone would free. */
  readonly uniqueBytes: number;
}

/** What takes the space: the JSON document `usage`. */
export interface Usage {
  /** Manifests, configs, layers and objects, each once. */
  readonly bytes: number;
  /** What exactly one image needs. */
  readonly uniqueBytes: number;
  /** data.mdb on the disk. */
  readonly fileBytes: number;
  /** The part of it that is free for the next writes. */
  readonly freeBytes: number;
  readonly images: readonly ImageUsage[];
  /** The budget, and where eviction begins and ends; null when there is none. */
  readonly limits: {
    readonly maxBytes: number;
    readonly highBytes: number;
    readonly lowBytes: number;
  } | null;
}

export function usageOf(environment: Environment, budget: Budget | undefined): Usage {
  const images = environment
    .tree("refs")
    .entries()
    .map(({ key, value }) => usageOfImage(environment, key, decodeRecord<RefRecord>(value)));
  return {
    bytes: contentBytes(environment),
    uniqueBytes: images.reduce((sum, { uniqueBytes }) => sum + uniqueBytes, 0),
    ...environment.space(),
    images,
    limits:
      budget === undefined
        ? null
        : { maxBytes: budget.maxBytes, highBytes: budget.highBytes, lowBytes: budget.lowBytes },
  };
}

function usageOfImage(environment: Environment, key: Buffer, record: RefRecord): ImageUsage {
  const { reference, platform } = record;
  const manifests = [...new Set(record.chain)].map((digest) => ({
    bytes: sizeOf(environment, "manifests", digestKey(digest)),
    isUnique: hasOnly(environment, "manifest", digest, key),
  }));
  const holder = digestKey(manifestDigestOf(record));
  // When another reference has the image too, nothing of it is this one's alone.
  const isOwner = hasOnly(environment, "manifest", manifestDigestOf(record), key);
  const content = contentOf(environment, holder).map(({ tree, kind, digest }) => ({
    bytes: sizeOf(environment, tree, digestKey(digest)),
    isUnique: isOwner && hasOnly(environment, kind, digest, holder),
  }));
  const referrers = allReferrersOf(environment, record.chain).flatMap((referrer) =>
    partsOfReferrer(referrer).map(({ tree, kind, digest }) => ({
      bytes: sizeOf(environment, tree, digestKey(digest)),
      isUnique: isOwner && holdersOf(environment, kind, digest).length === 1,
    })),
  );
  const parts = [...manifests, ...content, ...referrers];
  const sum = (of: typeof parts): number => of.reduce((total, { bytes }) => total + bytes, 0);
  return { reference, platform, bytes: sum(parts), uniqueBytes: sum(parts.filter((part) => part.isUnique)) };
}

interface Part {
  readonly tree: ContentTree;
  readonly kind: ContentKind;
  readonly digest: Digest;
}

/** What an image holds besides its manifests, each once. */
function contentOf(environment: Environment, holder: Buffer): Part[] {
  const row = environment.tree("images").get(holder);
  if (row === undefined) return [];
  const { config, layers, objects } = decodeRecord<ImageRecord>(row);
  const parts: Part[] = [
    { tree: "configs", kind: "config", digest: config.digest },
    ...layers.map(({ digest }) => ({ tree: "layers" as const, kind: "layer" as const, digest })),
    ...objects.map(({ digest }) => ({ tree: "objects" as const, kind: "object" as const, digest })),
  ];
  const distinct = new Map(parts.map((part) => [`${part.kind} ${part.digest}`, part]));
  return [...distinct.values()].filter(({ kind, digest }) => isHeldBy(environment, kind, digest, holder));
}

/** What a signature or attestation takes; it goes with what it is about. */
function partsOfReferrer({ digest, blobs }: ReferrerRecord): Part[] {
  return [
    { tree: "manifests", kind: "manifest", digest },
    ...blobs.map((blob) => ({
      tree: blob.kind === "config" ? ("configs" as const) : ("layers" as const),
      kind: blob.kind,
      digest: blob.digest,
    })),
  ];
}

function hasOnly(environment: Environment, kind: ContentKind, digest: Digest, holder: Buffer): boolean {
  return holdersOf(environment, kind, digest).every((each) => each.equals(holder));
}
