import type { Digest } from "../core/digest.js";
import { type Budget, keepWithin } from "./budget.js";
import { contentBytes } from "./content-bytes.js";
import { decodeRow } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { hold, isHeld, releaseReferrer, subjectsOf } from "./holders.js";
import { digestKey, referrerKey, subjectHolder } from "./keys.js";
import { putManifest, putOnce } from "./publish.js";
import type { ReferrerRecord } from "./records.js";
import { encodeRecord } from "./values.js";

/** A document that refers to a manifest, with all of its content, every size and digest in it already checked. */
export interface PublishedReferrer {
  readonly record: ReferrerRecord;
  readonly manifest: Uint8Array;
  /** The bytes of each of `record.blobs`. */
  readonly blobs: readonly Uint8Array[];
}

// A referrer is held by its subject, so it goes when that goes. Were it also, by however many steps, what its subject
// refers to, neither would ever go: a registry can put any manifest under cosign's tags.

/** See `Store.putReferrers`. One transaction: all of them are readable, or none. */
export function putReferrers(
  environment: Environment,
  subject: Digest,
  referrers: readonly PublishedReferrer[],
  budget?: Budget,
): PublishedReferrer[] {
  if (referrers.length === 0) return [];
  return environment.commit(() => {
    if (!isHeld(environment, "manifest", subject)) return [];
    const before = contentBytes(environment);
    const leftOut = referrers.filter((referrer) => {
      if (isWhatItRefersTo(environment, referrer.record.digest, subject)) return true;
      putReferrer(environment, referrer);
      return false;
    });
    keepWithin(environment, budget, { before, except: subject });
    return leftOut;
  });
}

function putReferrer(environment: Environment, { record, manifest, blobs }: PublishedReferrer): void {
  const { subject, artifactType, digest, mediaType, tag } = record;
  const known = referrersOf(environment, subject);
  const key = referrerKey(subject, artifactType, digest);
  const same = known.find((other) => other.digest === digest);
  putManifest(environment, { digest, mediaType, bytes: manifest });
  hold(environment, "manifest", digest, subjectHolder(subject));
  for (const [index, bytes] of blobs.entries()) {
    const blob = record.blobs[index];
    if (blob === undefined) continue;
    putOnce(environment, blob.kind, { digest: blob.digest, bytes });
    hold(environment, blob.kind, blob.digest, digestKey(digest));
  }
  environment.tree("referrers").put(key, encodeRecord({ ...record, tag: tag ?? same?.tag }));
  // A tag names one manifest. cosign moves it to a new one that has the old one's signatures and another.
  for (const other of known)
    if (tag !== undefined && other.tag === tag && other.digest !== digest)
      releaseReferrer(environment, other);
}

function isWhatItRefersTo(environment: Environment, referrer: Digest, subject: Digest): boolean {
  const seen = new Set<Digest>([subject]);
  for (const manifest of seen) for (const next of subjectsOf(environment, manifest)) seen.add(next);
  return seen.has(referrer);
}

export function referrersOf(environment: Environment, subject: Digest): ReferrerRecord[] {
  return environment
    .tree("referrers")
    .entries(digestKey(subject))
    .map(({ key, value }) => decodeRow<ReferrerRecord>("referrers", key, value));
}

/** What refers to these manifests, and to what refers to them; a document before those that refer to it. */
export function allReferrersOf(environment: Environment, subjects: readonly Digest[]): ReferrerRecord[] {
  return [...new Set(subjects)].flatMap((subject) =>
    referrersOf(environment, subject).flatMap((referrer) => [
      referrer,
      ...allReferrersOf(environment, [referrer.digest]),
    ]),
  );
}
