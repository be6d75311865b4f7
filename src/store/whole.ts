import { type Digest, digestAlgorithm, digestOf } from "../core/digest.js";
import type { Reference } from "../core/reference.js";
import { DamagedRow } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { isHeld, isHeldBy } from "./holders.js";
import { digestKey, referenceKey } from "./keys.js";
import { manifestDigestOf, type ObjectEntry, type RefRecord, type RootRecord } from "./records.js";

/**
 * Whether the image has all its parts. Content that was found damaged has been taken out, and the row in images that
 * promises it; so the chain of manifests and that row say it all, and it costs as many lookups.
 */
export function isWhole(environment: Environment, record: RootRecord | RefRecord): boolean {
  if (!("reference" in record)) return isRootWhole(environment, record);
  const holder = referenceKey(record.reference, record.platform);
  return (
    hasImage(environment, record) &&
    record.chain.every((digest) => isHeldBy(environment, "manifest", digest, holder))
  );
}

/** The same of what a root means, whatever reference it was found by. */
export function isRootWhole(environment: Environment, record: RootRecord): boolean {
  return (
    hasImage(environment, record) && record.chain.every((digest) => isHeld(environment, "manifest", digest))
  );
}

/** What is left of it for whoever has read the image's row, which is here no longer than its manifest. */
export function areIndexesHeld(environment: Environment, { chain }: RootRecord): boolean {
  return chain.length === 1 || chain.slice(0, -1).every((digest) => isHeld(environment, "manifest", digest));
}

function hasImage(environment: Environment, record: RootRecord): boolean {
  return environment.tree("images").has(digestKey(manifestDigestOf(record)));
}

/** LMDB has no checksums: up to this size all that is read is re-hashed, above it once per process and object. */
const alwaysVerifiedBytes = 1024 * 1024;

/** What is kept of objects, in bytes. */
const maxKeptBytes = 8 * 1024 * 1024;

/**
 * Knows which objects have been hashed by this process. Of small ones that are read again and again it keeps a copy,
 * to be handed out in place of what a disk may have made of them; and to be the same, byte for byte, as what had the digest
 * is no less than to have it, and is known ten times sooner.
 */
export class ObjectVerifier {
  readonly #verified = new Set<Digest>();
  /** In the order in which they were kept. */
  readonly #kept = new Map<Digest, Buffer>();
  #keptBytes = 0;

  /** Throws CACHE_CORRUPT, as a DamagedRow, unless `view` is what the entry says. */
  verify(
    view: Buffer | undefined,
    { digest, size, name }: ObjectEntry,
    reference?: Reference,
  ): asserts view is Buffer {
    if (view?.length === size) {
      if (size > alwaysVerifiedBytes ? this.#verified.has(digest) : this.#isSameAsKept(view, digest)) return;
      if (digestOf(view, digestAlgorithm(digest)) === digest) {
        // The second time says that there will be a third.
        if (size <= alwaysVerifiedBytes && this.#verified.has(digest)) this.#keep(view, digest);
        this.#verified.add(digest);
        return;
      }
    }
    this.#verified.delete(digest);
    const found = view === undefined ? "nothing" : digestOf(view, digestAlgorithm(digest));
    throw new DamagedRow(
      "objects",
      digestKey(digest),
      `the object ${name} (${digest}) is damaged in the cache`,
      {
        reference: reference?.toString(),
        expected: digest,
        found,
      },
    );
  }

  /** What it keeps, not to be changed; undefined of most. */
  kept(digest: Digest): Buffer | undefined {
    return this.#kept.get(digest);
  }

  #isSameAsKept(view: Buffer, digest: Digest): boolean {
    return this.#kept.get(digest)?.equals(view) === true;
  }

  #keep(view: Buffer, digest: Digest): void {
    this.#drop(digest);
    this.#kept.set(digest, Buffer.from(view));
    this.#keptBytes += view.length;
    for (const oldest of this.#kept.keys()) {
      if (this.#keptBytes <= maxKeptBytes) break;
      this.#drop(oldest);
    }
  }

  #drop(digest: Digest): void {
    this.#keptBytes -= this.#kept.get(digest)?.length ?? 0;
    this.#kept.delete(digest);
  }
}
