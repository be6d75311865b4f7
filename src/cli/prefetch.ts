import { readFile, writeFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import type { BytecodeCache } from "../cache.js";
import { BpfcacheError } from "../core/errors.js";
import { emit } from "../core/events.js";
import type { PulledImage } from "../options.js";
import type { BatchResult } from "../pull/batch.js";
import { type ListedImage, parseImageList } from "../pull/image-list.js";
import { encodeLock, readLock } from "../pull/lock.js";
import { describeBatch } from "./describe.js";
import { describeExplanation, explain, Story } from "./explain.js";
import { expandShortNames } from "./short-names.js";
import type { VerbContext } from "./verb.js";
import { requireAllTaken, withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, options, output, signal } = context;
  const files = options.values("file");
  if (words.length + files.length === 0) throw nothingGiven();
  requireLockFile(context);
  const interval = options.value("follow");
  if (interval !== undefined) {
    const { followList } = await import("./follow.js");
    return followList(context, interval);
  }
  const images = await listedImages(context);
  if (images.length === 0) throw nothingGiven();
  const story = options.isSet("explain") ? new Story(context.onEvent) : undefined;
  const result = await withCache({ ...context, onEvent: story?.onEvent ?? context.onEvent }, (cache) =>
    prefetch(cache, images, context),
  );
  const { policyFile } = context.settings;
  const explanations = story?.references.map((each) => [each, explain(story.of(each), policyFile)] as const);
  output.result({ ...result, ...(explanations && { explain: Object.fromEntries(explanations) }) }, () =>
    describeBatch(result, context.tally),
  );
  for (const [reference, explanation] of explanations ?? [])
    output.note(() => describeExplanation(reference, explanation));
  await writeLock(result, context);
  requireAllTaken(result, result.images.length + result.failed.length, signal);
}

function nothingGiven(): BpfcacheError {
  return new BpfcacheError("USAGE", "no reference given", {
    hint: "Name images, or files that list them with -f.",
  });
}

/** The images that the command line names, itself and in files. */
export async function listedImages(context: VerbContext): Promise<readonly ListedImage[]> {
  const images: ListedImage[] = context.words.map((reference) => ({ reference }));
  for (const path of context.options.values("file")) images.push(...(await readList(path, context)));
  return images;
}

/** Takes them in as the command line says. */
export async function prefetch(
  cache: BytecodeCache,
  images: readonly ListedImage[],
  { options, settings, signal }: VerbContext,
): Promise<BatchResult<PulledImage>> {
  const { jobs, maxAgeMs, allPlatforms } = settings;
  const strict = options.isSet("strict");
  const referrers = options.isSet("referrers");
  const lockFile = options.value("lock");
  const isLocked = options.isSet("locked") && lockFile !== undefined;
  const lock = isLocked ? await readLock(lockFile) : undefined;
  return cache.prefetch(images, { jobs, maxAgeMs, allPlatforms, strict, referrers, lock, signal });
}

function requireLockFile({ options }: VerbContext): void {
  if (options.isSet("locked") && options.value("lock") === undefined)
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

/** Of images that are all there, if a lock is to be written: one of a part would lose the rest. */
export async function writeLock(
  { failed, lock }: BatchResult<PulledImage>,
  { options, onEvent }: VerbContext,
): Promise<void> {
  const path = options.value("lock");
  if (path === undefined || options.isSet("locked")) return;
  if (failed.length > 0) {
    emit(onEvent, { event: "warning", message: `${path} is not written, as not all images could be had` });
    return;
  }
  await writeFile(path, encodeLock(new Map(Object.entries(lock)))).catch((cause: Error) => {
    throw new BpfcacheError("USAGE", `cannot write ${path}: ${cause.message}`, { cause });
  });
}
