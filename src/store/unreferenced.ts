import type { Digest } from "../core/digest.js";
import { type ContentTree, contentTrees } from "./content-bytes.js";
import type { Environment } from "./environment.js";
import type { Batch, Read, Removed } from "./evict.js";
import { type ContentKind, holdersOf, removeFromAll } from "./holders.js";
import { digestKey, readDigestKey, subjectOfHolder } from "./keys.js";
import { isLoadedHolder, isProgramHolder } from "./program-keys.js";
import type { ImageRecord, RefRecord } from "./records.js";
import { allReferrersOf } from "./referrers.js";
import { decodeRecord } from "./values.js";

// Mark and sweep, for what should not exist: a reference that goes takes its content with it. Marked is what the
// references lead to, on one state of the database; swept is what is not marked and, asked again in the transaction
// that removes it, has no holder that is needed itself. The mark guards against a lost row of heldBy, the second
// question against what was published since.

const rowsPerBatch = 256;

const kindOf: Readonly<Record<ContentTree, ContentKind>> = {
  manifests: "manifest",
  configs: "config",
  layers: "layer",
  objects: "object",
};

interface Suspect {
  readonly kind: ContentKind;
  readonly digest: Digest;
}

export function* sweepBatches(environment: Environment, read: Read): Generator<Batch> {
  const suspects = read(() => unmarked(environment));
  for (let start = 0; start < suspects.length; start += rowsPerBatch) {
    yield () => suspects.slice(start, start + rowsPerBatch).flatMap((suspect) => sweep(environment, suspect));
  }
}

function unmarked(environment: Environment): Suspect[] {
  const marked = mark(environment);
  return contentTrees.flatMap((tree) =>
    environment
      .tree(tree)
      .keys()
      .map((key) => ({ kind: kindOf[tree], digest: readDigestKey(key).digest }))
      .filter(({ kind, digest }) => !marked.has(`${kind} ${digest}`)),
  );
}

function mark(environment: Environment): Set<string> {
  const marked = new Set<string>();
  for (const { value } of environment.tree("refs").entries()) {
    const { chain } = decodeRecord<RefRecord>(value);
    for (const digest of chain) marked.add(`manifest ${digest}`);
    for (const { digest, blobs } of allReferrersOf(environment, chain)) {
      marked.add(`manifest ${digest}`);
      for (const blob of blobs) marked.add(`${blob.kind} ${blob.digest}`);
    }
  }
  for (const { key, value } of environment.tree("images").entries()) {
    if (!marked.has(`manifest ${readDigestKey(key).digest}`)) continue;
    const { config, layers, objects } = decodeRecord<ImageRecord>(value);
    marked.add(`config ${config.digest}`);
    for (const { digest } of layers) marked.add(`layer ${digest}`);
    for (const { digest } of objects) marked.add(`object ${digest}`);
  }
  return marked;
}

function sweep(environment: Environment, { kind, digest }: Suspect): Removed[] {
  if (!isStillHere(environment, kind, digest) || isNeeded(environment, kind, digest)) return [];
  return [{ digest, bytes: removeFromAll(environment, kind, digest), reason: "unreferenced" }];
}

function isStillHere(environment: Environment, kind: ContentKind, digest: Digest): boolean {
  return contentTrees.some((tree) => kindOf[tree] === kind && environment.tree(tree).has(digestKey(digest)));
}

function isNeeded(environment: Environment, kind: ContentKind, digest: Digest): boolean {
  return holdersOf(environment, kind, digest).some((holder) => isAlive(environment, holder));
}

/** A program that is loaded, a reference that is here, what a needed manifest is said of, or a manifest that is needed. */
function isAlive(environment: Environment, holder: Buffer): boolean {
  if (isProgramHolder(holder)) return isLoadedHolder(environment, holder);
  const subject = subjectOfHolder(holder);
  if (subject !== undefined) return isNeeded(environment, "manifest", subject);
  if (environment.tree("refs").has(holder)) return true;
  if (!environment.tree("manifests").has(holder)) return false;
  return isNeeded(environment, "manifest", readDigestKey(holder).digest);
}
