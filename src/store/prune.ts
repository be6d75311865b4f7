import { setImmediate } from "node:timers/promises";
import { BpfcacheError, throwIfAborted } from "../core/errors.js";
import { parseReference } from "../core/reference.js";
import { ages } from "./clock.js";
import { contentBytes } from "./content-bytes.js";
import { dropLayerBatches } from "./drop-layers.js";
import type { Environment } from "./environment.js";
import {
  type Batch,
  type Eviction,
  evictBatch,
  type Read,
  type ReferenceRow,
  type Removed,
} from "./evict.js";
import { removeReference } from "./holders.js";
import { isProtected } from "./protection.js";
import type { RefRecord } from "./records.js";
import { rehearse } from "./rehearse.js";
import { sweepBatches } from "./unreferenced.js";
import { decodeRecord } from "./values.js";

/** What is to go. Whatever is asked, pinned references and what is being pulled stay. */
export interface PruneOptions {
  /** The least recently used images go until the content takes at most so much. */
  readonly maxBytes?: number | undefined;
  /** Images that were not used for so long go. */
  readonly olderThanMs?: number | undefined;
  /** Of each repository only so many references stay, those pulled last. */
  readonly keepLast?: number | undefined;
  /** Content goes that no reference needs. There should be none: it is a sign of damage. */
  readonly unreferenced?: boolean | undefined;
  /** Layers go, and what was extracted from them stays: loaders notice nothing, and layers can be fetched again. */
  readonly dropLayers?: boolean | undefined;
  /** Change nothing; the result is the same. */
  readonly dryRun?: boolean | undefined;
  /** Aborting ends it with INTERRUPTED; what has gone by then stays gone. */
  readonly signal?: AbortSignal | undefined;
}

/** The JSON document `prune`. */
export interface PruneResult {
  readonly removed: readonly Removed[];
  readonly bytesFreed: number;
}

/** Throws USAGE when nothing is asked for or a number makes no sense, INTERRUPTED, CACHE_FULL, CACHE_CORRUPT. */
export async function prune(environment: Environment, options: PruneOptions): Promise<PruneResult> {
  requireSense(options);
  const removed: Removed[] = [];
  if (options.dryRun === true) {
    rehearse(environment, () => {
      for (const batch of batches(environment, options, (read) => read())) removed.push(...batch());
    });
  } else {
    const read: Read = (work) => environment.snapshot(work);
    for (const batch of batches(environment, options, read)) {
      throwIfAborted(options.signal);
      removed.push(...environment.commit(batch));
      await setImmediate(); // Pulls of this process go on.
    }
  }
  return { removed, bytesFreed: removed.reduce((sum, { bytes }) => sum + bytes, 0) };
}

function requireSense({ maxBytes, olderThanMs, keepLast, unreferenced, dropLayers }: PruneOptions): void {
  const numbers = [maxBytes, olderThanMs, keepLast].filter((number) => number !== undefined);
  if (numbers.length === 0 && unreferenced !== true && dropLayers !== true) {
    throw new BpfcacheError("USAGE", "nothing says what is to be pruned", {
      hint: "Give a size, an age or a number: --max-size 500M, --older-than 30d, --keep-last 3.",
    });
  }
  const wrong = numbers.find((number) => !(number >= 0));
  if (wrong !== undefined)
    throw new BpfcacheError("USAGE", `${wrong} is neither a size, an age nor a number to keep`);
}

function* batches(environment: Environment, options: PruneOptions, read: Read): Generator<Batch> {
  const { maxBytes, olderThanMs, keepLast } = options;
  if (options.unreferenced === true) yield* sweepBatches(environment, read);
  if (olderThanMs !== undefined) {
    const { ageOf, isInOrder } = read(() => ages(environment));
    yield* evictionBatches(environment, {
      reason: "age",
      isOld: (usedAt) => ageOf(usedAt) > olderThanMs,
      endsWithYoung: isInOrder,
      isEnough: () => false,
    });
  }
  if (keepLast !== undefined) yield* supersededBatches(environment, keepLast, read);
  if (options.dropLayers === true) yield* dropLayerBatches(environment, read);
  if (maxBytes !== undefined) {
    yield* evictionBatches(environment, {
      reason: "size",
      isOld: () => true,
      endsWithYoung: true,
      isEnough: () => contentBytes(environment) <= maxBytes,
    });
  }
}

function* evictionBatches(environment: Environment, eviction: Eviction): Generator<Batch> {
  let position: Buffer | undefined;
  do {
    yield () => {
      const batch = evictBatch(environment, eviction, position);
      position = batch.position;
      return batch.removed;
    };
  } while (position !== undefined);
}

const referencesPerBatch = 64;

/** Of each repository all references but the `keepLast` that were pulled last, on all their platforms. */
function* supersededBatches(environment: Environment, keepLast: number, read: Read): Generator<Batch> {
  const rows = read(() => supersededReferences(environment, keepLast));
  for (let start = 0; start < rows.length; start += referencesPerBatch) {
    yield () =>
      rows.slice(start, start + referencesPerBatch).flatMap((row) => removeUnlessChanged(environment, row));
  }
}

function supersededReferences(environment: Environment, keepLast: number): ReferenceRow[] {
  const repositories = new Map<string, Map<string, ReferenceRow[]>>();
  for (const { key, value } of environment.tree("refs").entries()) {
    const record = decodeRecord<RefRecord>(value);
    const { name } = parseReference(record.reference);
    const references = repositories.get(name) ?? new Map<string, ReferenceRow[]>();
    repositories.set(name, references);
    const platforms = references.get(record.reference) ?? [];
    references.set(record.reference, [...platforms, { key, record }]);
  }
  return [...repositories.values()].flatMap((references) =>
    [...references.values()]
      .sort((a, b) => pulledLast(b) - pulledLast(a))
      .slice(keepLast)
      .flat(),
  );
}

function pulledLast(rows: readonly ReferenceRow[]): number {
  return Math.max(...rows.map(({ record }) => record.pulledAt));
}

/** A reference that was removed, pinned or pulled again since it was looked at is left alone. */
function removeUnlessChanged(environment: Environment, { key, record }: ReferenceRow): Removed[] {
  const row = environment.tree("refs").get(key);
  if (row === undefined || decodeRecord<RefRecord>(row).pulledAt !== record.pulledAt) return [];
  if (isProtected(environment, record)) return [];
  const { reference, platform } = record;
  const bytes = removeReference(environment, key);
  return [{ reference, platform, bytes, reason: "keep-last" }];
}
