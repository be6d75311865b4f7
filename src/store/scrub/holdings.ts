import type { Digest } from "../../core/digest.js";
import { soundRecordAt } from "../damaged-row.js";
import type { Environment } from "../environment.js";
import { type ContentKind, manifestOfHolder, readHolderKey, subjectsOf } from "../holders.js";
import { digestKey, subjectOfHolder } from "../keys.js";
import { isLoadedHolder, isProgramHolder } from "../program-keys.js";
import type { ImageRecord, ReferrerRecord, RefRecord } from "../records.js";
import { isImageUnknown } from "./records.js";
import { wellFormed } from "./well-formed.js";

/** Whether what a row of the tree heldBy says is so, or cannot be told because of other damage. */
export function isTrueHolding(environment: Environment, row: Buffer): boolean {
  const parsed = wellFormed(() => readHolderKey(row));
  if (parsed?.kind === undefined) return false;
  const { kind, digest, holder } = parsed;
  if (isProgramHolder(holder)) return kind === "object" && isLoadedHolder(environment, holder);
  const subject = wellFormed(() => subjectOfHolder(holder));
  if (subject !== undefined) return kind === "manifest" && isReferrer(environment, subject, digest);
  if (kind === "manifest") {
    const record = soundRecordAt<RefRecord>(environment, "refs", holder);
    return record === undefined ? environment.tree("refs").has(holder) : record.chain.includes(digest);
  }
  const manifest = wellFormed(() => manifestOfHolder(holder));
  if (manifest === undefined) return false;
  const image = soundRecordAt<ImageRecord>(environment, "images", holder);
  if (image !== undefined && hasBlob(image, kind, digest)) return true; // As nearly always, and known the soonest.
  return isImageUnknown(environment, holder) || isOfReferrer(environment, manifest, kind, digest);
}

function hasBlob({ config, layers, objects }: ImageRecord, kind: ContentKind, digest: Digest): boolean {
  if (kind === "config") return config.digest === digest;
  return (kind === "layer" ? layers : objects).some((blob) => blob.digest === digest);
}

/** Whether the subject's rows say so, or cannot be read. */
function isReferrer(environment: Environment, subject: Digest, manifest: Digest): boolean {
  return referrerRows(environment, subject).some(
    (record) => record === undefined || record.digest === manifest,
  );
}

/** Whether a signature or attestation with this manifest has the blob. */
function isOfReferrer(
  environment: Environment,
  manifest: Digest,
  kind: ContentKind,
  digest: Digest,
): boolean {
  return subjectsOf(environment, manifest).some((subject) =>
    referrerRows(environment, subject).some(
      (record) =>
        record === undefined ||
        (record.digest === manifest &&
          record.blobs.some((blob) => blob.kind === kind && blob.digest === digest)),
    ),
  );
}

function referrerRows(environment: Environment, subject: Digest): (ReferrerRecord | undefined)[] {
  return environment
    .tree("referrers")
    .keys(digestKey(subject))
    .map((key) => soundRecordAt<ReferrerRecord>(environment, "referrers", key));
}
