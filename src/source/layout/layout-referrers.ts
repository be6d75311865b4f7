import { type Digest, digestHex } from "../../core/digest.js";
import type { Descriptor } from "../../image/descriptor.js";
import type { ManifestDocument } from "../../image/manifest.js";
import { indexMediaTypes, manifestMediaTypes } from "../../image/media-types.js";
import type { Referrer } from "../image-source.js";
import { type LayoutIndex, nameOf, statementTagOf } from "./layout-index.js";

/** More entries than this without a name or a platform are not looked into. */
const maxUnnamed = 10_000;

export type ReadManifest = (descriptor: Descriptor) => Promise<ManifestDocument | undefined>;

/**
 * What in a layout says something of an image: signatures, attestations, SBOMs. Only the layout's own entries are
 * looked at, and what an index of referrers under a tag lists; no blob is searched for subjects.
 */
export class LayoutReferrers {
  readonly #index: LayoutIndex;
  readonly #read: ReadManifest;
  #byTag: Promise<ReadonlyMap<string, readonly Referrer[]>> | undefined;
  #bySubject: Promise<ReadonlyMap<Digest, readonly Descriptor[]>> | undefined;

  constructor(index: LayoutIndex, read: ReadManifest) {
    this.#index = index;
    this.#read = read;
  }

  async list(subject: Digest): Promise<readonly Referrer[]> {
    this.#byTag ??= this.#readTags();
    this.#bySubject ??= this.#readSubjects();
    const [byTag, bySubject] = await Promise.all([this.#byTag, this.#bySubject]);
    // The distribution specification cuts the hexadecimal digits of a long digest in a tag.
    const hex = digestHex(subject);
    const tagged = [
      ...(byTag.get(hex) ?? []),
      ...(hex.length > 64 ? (byTag.get(hex.slice(0, 64)) ?? []) : []),
    ];
    const found = new Map(
      [...tagged, ...(bySubject.get(subject) ?? [])].map((entry) => [entry.digest, entry]),
    );
    return [...found.values()];
  }

  /** cosign's tags name the document itself, the fall-back's tag an index of them. */
  async #readTags(): Promise<ReadonlyMap<string, readonly Referrer[]>> {
    const found = new Map<string, Referrer[]>();
    for (const entry of this.#index) {
      const tag = statementTagOf(entry);
      if (tag === undefined) continue;
      const document = tag.role === undefined ? await this.#read(entry) : undefined;
      const tagged = tag.role === undefined ? entry : { ...entry, tag: tag.name };
      append(found, tag.hex, document?.kind === "index" ? document.manifests : [tagged]);
    }
    return found;
  }

  /**
   * oras lists every manifest of a layout in its index, referrers among them, without saying what they refer to. Those
   * without a name, and without the platform that the children of an index have, are few and small, and are read once.
   */
  async #readSubjects(): Promise<ReadonlyMap<Digest, readonly Descriptor[]>> {
    const found = new Map<Digest, Descriptor[]>();
    for (const entry of this.#index.filter(isUnnamed).slice(0, maxUnnamed)) {
      const document = await this.#read(entry);
      const subject = document?.subject?.digest;
      if (document === undefined || subject === undefined) continue;
      const ofConfig = document.kind === "manifest" ? document.config.mediaType : undefined;
      const artifactType = entry.artifactType ?? document.artifactType ?? ofConfig;
      // As a registry would list it: with the manifest's own annotations (distribution-spec, "Listing Referrers").
      const annotations = document.annotations ?? entry.annotations;
      append(found, subject, [{ ...entry, artifactType, annotations }]);
    }
    return found;
  }
}

function isUnnamed(entry: Descriptor): boolean {
  const isManifest = manifestMediaTypes.has(entry.mediaType) || indexMediaTypes.has(entry.mediaType);
  return isManifest && entry.platform === undefined && nameOf(entry) === undefined;
}

function append<K>(map: Map<K, Descriptor[]>, key: K, entries: readonly Descriptor[]): void {
  const known = map.get(key);
  if (known === undefined) map.set(key, [...entries]);
  else known.push(...entries);
}
