import type { Digest } from "../core/digest.js";
import type { Descriptor } from "../image/descriptor.js";
import type { ReferrerRecord } from "../store/records.js";
import type { Store } from "../store/store.js";
import type { ContentItem } from "./content.js";
import { compare } from "./selection.js";

/** A signature or attestation that is exported with what it is about. */
export interface Referrer {
  readonly descriptor: Descriptor;
  /** cosign's tag, if it was found by that: where nothing in it names its subject, nothing else ties it to it. */
  readonly tag: string | undefined;
  /** Whether the image's own index names it. */
  readonly isInIndex: boolean;
  readonly content: readonly ContentItem[];
}

/** All that refers to a manifest, and what refers to that, in order of the digests. */
export function referrersOf(store: Store, subject: Digest): readonly Referrer[] {
  const found = new Map<Digest, Referrer>();
  const collect = (about: Digest): void => {
    for (const record of store.referrersOf(about)) {
      if (found.has(record.digest)) continue;
      found.set(record.digest, toReferrer(record));
      collect(record.digest);
    }
  };
  collect(subject);
  return [...found.values()].sort((a, b) => compare(a.descriptor.digest, b.descriptor.digest));
}

function toReferrer(record: ReferrerRecord): Referrer {
  const { artifactType, digest, mediaType, size, tag, isInIndex = false, blobs } = record;
  return {
    descriptor: { mediaType, digest, size, ...(artifactType !== "" && { artifactType }) },
    tag,
    isInIndex,
    content: [{ kind: "manifest", digest, size }, ...blobs],
  };
}
