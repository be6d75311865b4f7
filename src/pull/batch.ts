import { BpfcacheError, type ErrorCode, toBpfcacheError } from "../core/errors.js";
import { type EventSink, emit } from "../core/events.js";
import type { GroupCommit } from "../store/group-commit.js";

const defaultJobs = 16;

export interface FailedImage {
  readonly reference: string;
  readonly code: ErrorCode;
  readonly message: string;
}

export interface BatchResult<T> {
  readonly images: readonly T[];
  readonly failed: readonly FailedImage[];
  /** Each reference with the root digest it meant. */
  readonly lock: Readonly<Record<string, string>>;
}

export interface Taken {
  readonly reference: string;
  readonly rootDigest: string;
}

/** Takes in many images, some at a time; a failure is noted and stops no other. Results are in order of their references. */
export async function takeAll<T extends Taken>(
  references: readonly string[],
  take: (reference: string) => Promise<readonly T[]>,
  options: { readonly group: GroupCommit; readonly onEvent?: EventSink | undefined },
): Promise<BatchResult<T>> {
  const { group } = options;
  const images: T[] = [];
  const failed: FailedImage[] = [];
  const takeOne = async (reference: string): Promise<void> => {
    try {
      images.push(...(await group.join(() => take(reference))));
    } catch (thrown) {
      const { code, message } = toBpfcacheError(thrown);
      failed.push({ reference, code, message });
      emit(options.onEvent, { event: "failed", reference, code, message });
    }
  };
  // The first of each host goes ahead: what a registry tells everybody, a login or a limit, it then tells only once.
  const leaders = new Map<string, Promise<void>>();
  const start = (reference: string): Promise<void> => {
    const [host = ""] = reference.split("/", 1);
    const leader = leaders.get(host);
    if (leader !== undefined) return leader.then(() => takeOne(reference));
    const first = takeOne(reference);
    leaders.set(host, first);
    return first;
  };
  const distinct = [...new Set(references)];
  emit(options.onEvent, { event: "batch", images: distinct.length });
  await Promise.all(distinct.map(start));
  return toResult(images, failed);
}

/** How many images at a time. Throws USAGE. */
export function jobsOf({ jobs = defaultJobs }: { readonly jobs?: number | undefined }): number {
  if (Number.isInteger(jobs) && jobs >= 1) return jobs;
  throw new BpfcacheError("USAGE", `jobs is ${jobs}; it takes a whole number from 1`);
}

export function mergeBatches<T extends Taken>(batches: readonly BatchResult<T>[]): BatchResult<T> {
  return toResult(
    batches.flatMap(({ images }) => images),
    batches.flatMap(({ failed }) => failed),
  );
}

function toResult<T extends Taken>(images: readonly T[], failed: readonly FailedImage[]): BatchResult<T> {
  const sorted = [...images].sort(byReference);
  return {
    images: sorted,
    failed: [...failed].sort(byReference),
    lock: Object.fromEntries(sorted.map(({ reference, rootDigest }) => [reference, rootDigest])),
  };
}

function byReference(a: { readonly reference: string }, b: { readonly reference: string }): number {
  return a.reference < b.reference ? -1 : Number(a.reference > b.reference);
}
