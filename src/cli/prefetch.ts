import { readFile, writeFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { BpfcacheError } from "../core/errors.js";
import { emit } from "../core/events.js";
import type { PulledImage } from "../options.js";
import type { BatchResult } from "../pull/batch.js";
import { type ListedImage, parseImageList } from "../pull/image-list.js";
import { encodeLock, readLock } from "../pull/lock.js";
import { describeBatch } from "./describe.js";
import { expandShortNames } from "./short-names.js";
import type { VerbContext } from "./verb.js";
import { requireAllTaken, withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, options, settings, output, signal } = context;
  const images: ListedImage[] = words.map((reference) => ({ reference }));
  for (const path of options.values("file")) images.push(...(await readList(path, context)));
  if (images.length === 0) {
    throw new BpfcacheError("USAGE", "no reference given", {
      hint: "Name images, or files that list them with -f.",
    });
  }
  const { jobs, maxAgeMs, allPlatforms } = settings;
  const strict = options.isSet("strict");
  const referrers = options.isSet("referrers");
  const lockFile = options.value("lock");
  const lock = options.isSet("locked") ? await readLock(requireLockFile(lockFile)) : undefined;
  const result = await withCache(context, (cache) =>
    cache.prefetch(images, { jobs, maxAgeMs, allPlatforms, strict, referrers, lock, signal }),
  );
  output.result(result, () => describeBatch(result, context.tally));
  if (lockFile !== undefined && lock === undefined) await writeLock(lockFile, result, context);
  requireAllTaken(result, result.images.length + result.failed.length, signal);
}

function requireLockFile(path: string | undefined): string {
  if (path !== undefined) return path;
  throw new BpfcacheError("USAGE", "--locked needs --lock FILE");
}

async function readList(path: string, { settings, onEvent }: VerbContext): Promise<ListedImage[]> {
  let content: string;
  try {
    content = path === "-" ? await text(process.stdin) : await readFile(path, "utf8");
  } catch (cause) {
    throw new BpfcacheError(
      "USAGE",
      `cannot read ${path}: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    );
  }
  const { images, notes } = await parseImageList(content, path === "-" ? "standard input" : path);
  for (const message of notes) emit(onEvent, { event: "warning", message });
  const references = await expandShortNames(
    images.map(({ reference }) => reference),
    settings,
  );
  return images.map((image, i) => ({ ...image, reference: references[i] ?? image.reference }));
}

/** Of images that are all there: a lock of a part would lose the rest. */
async function writeLock(
  path: string,
  { failed, lock }: BatchResult<PulledImage>,
  { onEvent }: VerbContext,
): Promise<void> {
  if (failed.length > 0) {
    emit(onEvent, { event: "warning", message: `${path} is not written, as not all images could be had` });
    return;
  }
  await writeFile(path, encodeLock(new Map(Object.entries(lock)))).catch((cause: Error) => {
    throw new BpfcacheError("USAGE", `cannot write ${path}: ${cause.message}`, { cause });
  });
}
