import type { Digest } from "../core/digest.js";
import { hashOfContent } from "./content.js";
import { removeContent } from "./content-bytes.js";
import { DamagedRow, recordAt, soundRecordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import {
  type ContentKind,
  contentTrees,
  isHeld,
  manifestsHolding,
  markIncomplete,
  releaseHolder,
  releaseReferrer,
  removeHolders,
  removeIndexesOf,
  subjectsOf,
} from "./holders.js";
import { digestKey, readDigestKey, readReferenceKey, referencePrefix, rootKey } from "./keys.js";
import { rememberLost } from "./lost.js";
import { putReference } from "./publish.js";
import type { ReferrerRecord, RefRecord, RootRecord } from "./records.js";
import type { TreeName } from "./trees.js";
import { pinnedReference, pinOf, putPin, removePin, unknownPin } from "./usage.js";
import { areSoundBytes, encodeRecord } from "./values.js";

/** What is noted of something that was found damaged. */
export interface QuarantineNote {
  readonly tree: TreeName;
  readonly digest: Digest | undefined;
  /** The row's key in hex. */
  readonly key: string;
  readonly reason: string;
  /** Milliseconds since 1970. */
  readonly noticedAt: number;
  /** The first bytes of what was there, in hex. */
  readonly head: string;
}

const notePrefix = Buffer.from("note\0");
const keptNotes = 1_000;
const headBytes = 64;

/**
 * Takes a damaged row out of use, in one transaction: what is wrong is noted and dropped, with the rows that promise
 * it. References, roots, manifests and the sound content stay, so that it is known what to bring back. Nothing is
 * done when the row is sound by now: another process may have been first.
 */
export function quarantine(environment: Environment, { tree, key, message }: DamagedRow): void {
  environment.commit(() => {
    if (isDamaged(environment, tree, key)) dropDamaged(environment, tree, key, message);
  });
}

/** Only inside `commit`, of a row that is damaged, or that is missing though something needs it. */
export function dropDamaged(environment: Environment, tree: TreeName, key: Buffer, reason: string): void {
  note(environment, tree, key, reason);
  const kind = contentKindOf(tree);
  if (kind !== undefined) dropContent(environment, kind, readDigestKey(key).digest);
  else if (tree === "objectInfo") dropContent(environment, "object", readDigestKey(key).digest);
  else if (tree === "images") markIncomplete(environment, readDigestKey(key).digest);
  else if (tree === "refs") mendReference(environment, key);
  else if (tree === "usage") mendPin(environment, key);
  else environment.tree(tree).remove(key);
}

export function contentKindOf(tree: TreeName): ContentKind | undefined {
  return (Object.keys(contentTrees) as ContentKind[]).find((kind) => contentTrees[kind] === tree);
}

/** Oldest first. */
export function quarantineNotes(environment: Environment): QuarantineNote[] {
  return environment
    .tree("quarantine")
    .keys(notePrefix)
    .flatMap((key) => soundRecordAt<QuarantineNote>(environment, "quarantine", key) ?? []);
}

/** Whether the bytes of some content are not there, or do not hash to its name. They are hashed where they lie. */
export function faultOfContent(
  environment: Environment,
  kind: ContentKind,
  digest: Digest,
  meter = { bytes: 0 },
): string | undefined {
  const view = environment.tree(contentTrees[kind]).view(digestKey(digest));
  if (view === undefined) return `the ${kind} is missing`;
  meter.bytes += view.length;
  const found = hashOfContent(kind, view, digest);
  return found === digest ? undefined : `the ${kind} hashes to ${found}`;
}

function isDamaged(environment: Environment, tree: TreeName, key: Buffer): boolean {
  const kind = contentKindOf(tree);
  if (kind !== undefined) {
    const { digest } = readDigestKey(key);
    return isHeld(environment, kind, digest) && faultOfContent(environment, kind, digest) !== undefined;
  }
  if (tree === "pending" || tree === "programs" || tree === "trees") {
    const value = environment.tree(tree).get(key);
    return value !== undefined && !areSoundBytes(value);
  }
  try {
    const isMissing = recordAt(environment, tree, key) === undefined;
    return isMissing && tree === "objectInfo" && isHeld(environment, "object", readDigestKey(key).digest);
  } catch (error) {
    if (error instanceof DamagedRow) return true;
    throw error;
  }
}

function note(environment: Environment, tree: TreeName, key: Buffer, reason: string): void {
  const notes = environment.tree("quarantine");
  const head = environment.tree(tree).view(key)?.toString("hex", 0, headBytes) ?? "";
  const keys = notes.keys(notePrefix);
  const last = keys.at(-1);
  const number = Buffer.alloc(8);
  number.writeBigUInt64BE(last === undefined ? 0n : last.readBigUInt64BE(notePrefix.length) + 1n);
  const digest = contentKindOf(tree) === undefined ? undefined : readDigestKey(key).digest;
  const record: QuarantineNote = {
    tree,
    digest,
    key: key.toString("hex"),
    reason,
    noticedAt: Date.now(),
    head,
  };
  notes.put(Buffer.concat([notePrefix, number]), encodeRecord(record));
  for (const old of keys.slice(0, Math.max(0, keys.length + 1 - keptNotes))) notes.remove(old);
}

function dropContent(environment: Environment, kind: ContentKind, digest: Digest): void {
  const key = digestKey(digest);
  // A signature or attestation goes as a whole; the next pull that keeps them fetches it again.
  const referrers = kind === "manifest" ? [digest] : manifestsHolding(environment, kind, digest);
  for (const referrer of referrers) dropReferrer(environment, referrer);
  const images = kind === "manifest" ? [] : manifestsHolding(environment, kind, digest);
  removeHolders(environment, kind, digest);
  if (kind === "object") {
    removeIndexesOf(environment, digest);
    environment.tree("objectInfo").remove(key);
  }
  removeContent(environment, contentTrees[kind], key);
  if (kind === "manifest") {
    if (environment.tree("images").has(key)) markIncomplete(environment, digest);
  } else for (const image of images) markIncomplete(environment, image);
}

function dropReferrer(environment: Environment, manifest: Digest): void {
  for (const subject of subjectsOf(environment, manifest))
    for (const key of environment.tree("referrers").keys(digestKey(subject))) {
      const record = soundRecordAt<ReferrerRecord>(environment, "referrers", key);
      if (record?.digest === manifest) releaseReferrer(environment, record);
    }
}

/**
 * A reference whose own record is damaged: what it means on its platform is in roots too, and which root is meant is
 * known from what its key holds. Else it is let go of, and remembered by its name.
 */
function mendReference(environment: Environment, key: Buffer): void {
  const { reference, platform } = readReferenceKey(key);
  const root = reference === undefined ? undefined : rootHeldBy(environment, key, platform);
  environment.tree("refs").remove(key);
  if (reference !== undefined && root !== undefined) {
    // When it was checked is lost, so it was long ago.
    const record: RefRecord = { ...root, reference, source: "cache", pulledAt: Date.now(), checkedAt: 0 };
    putReference(environment, record);
    return;
  }
  releaseHolder(environment, key);
  if (reference !== undefined) loseReference(environment, { reference, platform, rootDigest: undefined });
}

/** What cannot be brought back now is remembered for a prefetch, with its pin. Its rows have been removed. */
export function loseReference(
  environment: Environment,
  lost: { readonly reference: string; readonly platform: string; readonly rootDigest: Digest | undefined },
): void {
  const pin = pinOf(environment, lost.reference);
  rememberLost(environment, { ...lost, pin });
  if (!environment.tree("refs").hasPrefix(referencePrefix(lost.reference)))
    removePin(environment, lost.reference);
}

function rootHeldBy(environment: Environment, holder: Buffer, platform: string): RootRecord | undefined {
  const held = environment
    .tree("heldBy")
    .keys(Buffer.of(1))
    .map((row) => ({ row, ...readDigestKey(row, 1) }))
    .filter(({ row, end }) => row.subarray(end).equals(holder))
    .map(({ digest }) => digest);
  return held
    .map((digest) => soundRecordAt<RootRecord>(environment, "roots", rootKey(digest, platform)))
    .find((root) => root?.chain.every((digest) => held.includes(digest)));
}

/** That it is pinned is what counts; by whom is forgotten. */
function mendPin(environment: Environment, key: Buffer): void {
  const reference = pinnedReference(key);
  environment.tree("usage").remove(key);
  if (reference === undefined) return;
  putPin(environment, reference, unknownPin());
}
