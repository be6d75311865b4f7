import type { Digest } from "../core/digest.js";
import { BpfcacheError, toBpfcacheError } from "../core/errors.js";
import { formatPlatform, type Platform } from "../core/platform.js";
import { parseReference, type Reference } from "../core/reference.js";
import type { FailedImage } from "../pull/batch.js";
import { notCached } from "../store/bytecode.js";
import { type RefRecord, type RootRecord, rootDigestOf } from "../store/records.js";
import type { Store } from "../store/store.js";

/** One image to export: what its reference means on each chosen platform, all of them under one root. */
export interface SelectedImage {
  readonly reference: string;
  readonly rootDigest: Digest;
  /** In order of their platforms; at least one. */
  readonly platforms: readonly RootRecord[];
}

export interface Selection {
  readonly images: readonly SelectedImage[];
  readonly failed: readonly FailedImage[];
}

export interface SelectionRequest {
  /** Undefined takes all that is cached. */
  readonly references: readonly string[] | undefined;
  /** Undefined takes every platform that is cached. */
  readonly platforms: readonly Platform[] | undefined;
  /** For a digest that no reference here has. */
  readonly defaultPlatform: Platform;
}

/** What is to be exported, in order of the references. What cannot be is in `failed`. */
export function selectImages(store: Store, request: SelectionRequest): Selection {
  const images = new Map<string, SelectedImage>();
  const failed: FailedImage[] = [];
  const fail = (reference: string, thrown: unknown): void => {
    const { code, message } = toBpfcacheError(thrown);
    failed.push({ reference, code, message });
  };
  for (const text of request.references ?? allReferences(store, request.platforms)) {
    try {
      const reference = parseReference(text);
      const [image, ...stale] = byRoot(reference, chosenRows(store, reference, request));
      images.set(image.reference, image);
      for (const older of stale) fail(image.reference, leftBehind(older));
    } catch (error) {
      fail(text, error);
    }
  }
  return {
    images: [...images.values()].sort((a, b) => compare(a.reference, b.reference)),
    failed: failed.sort((a, b) => compare(a.reference, b.reference)),
  };
}

/** By code units: the same order everywhere, whatever the locale. */
export function compare(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}

function allReferences(store: Store, platforms: readonly Platform[] | undefined): Iterable<string> {
  const names = platforms?.map(formatPlatform);
  const rows = store.references().filter(({ platform }) => names?.includes(platform) ?? true);
  return new Set(rows.map(({ reference }) => reference));
}

/** Throws NOT_CACHED when one of the platforms that were asked for is not here. */
function chosenRows(
  store: Store,
  reference: Reference,
  { references, platforms, defaultPlatform }: SelectionRequest,
): readonly Row[] {
  const rows = store.references(reference);
  if (rows.length === 0)
    return (platforms ?? [defaultPlatform]).map((each) => rowByDigest(store, reference, each));
  if (platforms === undefined) return rows;
  const names = new Set(platforms.map(formatPlatform));
  const here = rows.map(({ platform }) => platform);
  for (const name of names) {
    if (references === undefined || here.includes(name)) continue;
    throw new BpfcacheError("NOT_CACHED", `it is not cached for ${name}; here it is for ${here.join(", ")}`);
  }
  return rows.filter(({ platform }) => names.has(platform));
}

type Row = RootRecord & Partial<Pick<RefRecord, "checkedAt">>;

function rowByDigest(store: Store, reference: Reference, platform: Platform): Row {
  const found = store.find(reference, platform);
  if (found === undefined) throw notCached(reference);
  return found;
}

/** Platforms may have been pulled before and after a tag moved: the newest answer, first here, is what it means now. */
function byRoot(reference: Reference, rows: readonly Row[]): [SelectedImage, ...SelectedImage[]] {
  const newestFirst = [...rows].sort((a, b) => (b.checkedAt ?? 0) - (a.checkedAt ?? 0));
  const roots = [...new Set(newestFirst.map(rootDigestOf))];
  const [first, ...others] = roots.map((rootDigest) => ({
    reference: reference.toString(),
    rootDigest,
    platforms: rows
      .filter((row) => rootDigestOf(row) === rootDigest)
      .sort((a, b) => compare(a.platform, b.platform)),
  }));
  if (first === undefined) throw notCached(reference);
  return [first, ...others];
}

function leftBehind({ rootDigest, platforms }: SelectedImage): BpfcacheError {
  const names = platforms.map(({ platform }) => platform).join(", ");
  return new BpfcacheError(
    "NOT_CACHED",
    `for ${names} only an older image is cached, ${rootDigest}: pull it again`,
  );
}
