import type { Digest } from "../core/digest.js";
import type { BpfGlobal, BpfSection } from "../image/elf/bpf-object.js";
import type { Attachment } from "../image/formats/format.js";
import { DamagedRow, recordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { isHeldBy } from "./holders.js";
import { digestKey } from "./keys.js";
import {
  type BlobEntry,
  type ImageRecord,
  type MapEntry,
  manifestDigestOf,
  type ObjectRecord,
  type ProgramEntry,
  type ReferrerRecord,
  type RefRecord,
  rootDigestOf,
} from "./records.js";
import { allReferrersOf } from "./referrers.js";
import { isPinned, lastUsedAt } from "./usage.js";
import { decodeManifest } from "./values.js";
import { toVerdict, type Verdict, verdictsOf } from "./verdicts.js";
import { areIndexesHeld } from "./whole.js";

export interface CachedObject {
  readonly name: string;
  readonly digest: Digest;
  readonly size: number;
  readonly programs: readonly ProgramEntry[];
  readonly maps: readonly MapEntry[];
}

/** One cached image: the JSON document `image`. Times are ISO 8601. */
export interface CachedImage {
  readonly reference: string;
  readonly rootDigest: Digest;
  readonly manifestDigest: Digest;
  readonly platform: string;
  readonly format: string;
  readonly objects: readonly CachedObject[];
  readonly labels: Readonly<Record<string, string>>;
  /** Bytes of config, layers and objects; what images share is counted in each. */
  readonly size: number;
  readonly pinned: boolean;
  readonly pulledAt: string;
  readonly lastUsedAt: string | null;
}

export interface InspectedObject extends CachedObject {
  readonly layerDigest: Digest;
  readonly byteOrder: string;
  readonly license: string | null;
  readonly sections: readonly BpfSection[];
  readonly globals: readonly BpfGlobal[];
  /** Relocations against the running kernel's types; above zero the kernel must have BTF. */
  readonly coreRelocations: number;
}

export interface InspectedLayer extends BlobEntry {
  /** False after `prune` has dropped it: `restoreLayers` fetches it again. */
  readonly isCached: boolean;
}

/** All that is known of an image: the JSON document `inspect`. */
export interface ImageDetails extends CachedImage {
  readonly rootMediaType: string;
  /** What the root offers, cached or not; only its own for an image without an index. */
  readonly platforms: readonly string[];
  readonly configDigest: Digest;
  readonly layers: readonly InspectedLayer[];
  readonly objects: readonly InspectedObject[];
  /** What else the image carries: a gadget's WebAssembly module, BTF and metadata, and layers without objects. */
  readonly attachments: readonly Attachment[];
  /** What a gadget's YAML says; null for other formats. */
  readonly metadata: Readonly<Record<string, unknown>> | null;
  /** Signatures and attestations kept with the root and the manifest, and what refers to those in turn. */
  readonly referrers: readonly ReferrerRecord[];
  /** What trust policies have said of the root, the newest first. */
  readonly verdicts: readonly Verdict[];
  readonly source: string;
  readonly checkedAt: string;
  readonly warnings: readonly string[];
}

export function describeImage(
  environment: Environment,
  record: RefRecord,
  pinned = isPinned(environment, record.reference),
): CachedImage {
  const image = imageOf(environment, record);
  return {
    ...summary(environment, record, image, pinned),
    objects: image.objects.map(({ name, digest, size, programs }, index) => ({
      name,
      digest,
      size,
      programs,
      maps: image.maps?.[index] ?? mapsOf(environment, digest),
    })),
  };
}

export function describeImageFully(environment: Environment, record: RefRecord): ImageDetails {
  const image = imageOf(environment, record);
  const root = environment.tree("manifests").get(digestKey(rootDigestOf(record)));
  return {
    ...summary(environment, record, image, isPinned(environment, record.reference)),
    rootMediaType: root === undefined ? "" : decodeManifest(root).mediaType,
    platforms: record.platforms.length > 0 ? record.platforms : [record.platform],
    configDigest: image.config.digest,
    layers: image.layers.map((layer) => ({
      ...layer,
      isCached: isHeldBy(environment, "layer", layer.digest, digestKey(manifestDigestOf(record))),
    })),
    objects: image.objects.map(({ name, digest, size, layer }) => {
      const { programs, maps, sections, globals, license, byteOrder, coreRelocations } = factsOf(
        environment,
        digest,
      );
      return {
        name,
        digest,
        size,
        layerDigest: layer,
        byteOrder,
        license: license ?? null,
        programs,
        maps,
        globals,
        sections,
        coreRelocations,
      };
    }),
    referrers: allReferrersOf(environment, record.chain),
    verdicts: verdictsOf(environment, rootDigestOf(record)).map(toVerdict),
    attachments: image.attachments ?? [],
    metadata: image.metadata ?? null,
    source: record.source,
    checkedAt: new Date(record.checkedAt).toISOString(),
    warnings: image.warnings,
  };
}

function summary(
  environment: Environment,
  record: RefRecord,
  image: ImageRecord,
  pinned: boolean,
): Omit<CachedImage, "objects"> {
  const used = lastUsedAt(environment, manifestDigestOf(record));
  return {
    reference: record.reference,
    rootDigest: rootDigestOf(record),
    manifestDigest: manifestDigestOf(record),
    platform: record.platform,
    format: image.format,
    labels: image.labels,
    size: image.config.size + sizeOf(image.layers) + sizeOf(image.objects),
    pinned,
    pulledAt: new Date(record.pulledAt).toISOString(),
    lastUsedAt: used === undefined ? null : new Date(used).toISOString(),
  };
}

function sizeOf(parts: readonly { readonly size: number }[]): number {
  return parts.reduce((sum, { size }) => sum + size, 0);
}

function imageOf(environment: Environment, record: RefRecord): ImageRecord {
  const manifest = manifestDigestOf(record);
  const key = digestKey(manifest);
  const image = recordAt<ImageRecord>(environment, "images", key);
  if (image !== undefined && areIndexesHeld(environment, record)) return image;
  throw new DamagedRow("images", key, `parts of the image ${manifest} were found damaged and are missing`, {
    reference: record.reference,
  });
}

/** Of an image that was taken in when its record did not have them. */
function mapsOf(environment: Environment, object: Digest): MapEntry[] {
  return factsOf(environment, object).maps.map(({ name, type }) => ({ name, type }));
}

function factsOf(environment: Environment, object: Digest): ObjectRecord {
  const key = digestKey(object);
  const facts = recordAt<ObjectRecord>(environment, "objectInfo", key);
  if (facts !== undefined) return facts;
  throw new DamagedRow("objectInfo", key, `what is known of the object ${object} is missing`);
}
