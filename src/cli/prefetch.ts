import { readFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { BpfcacheError } from "../core/errors.js";
import { describeBatch } from "./describe.js";
import { expandShortNames } from "./short-names.js";
import type { VerbContext } from "./verb.js";
import { requireAllTaken, withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, options, settings, output, signal } = context;
  const lists = await Promise.all(options.values("file").map(readList));
  const references = [...words, ...(await expandShortNames(lists.flat(), settings))];
  if (references.length === 0) {
    throw new BpfcacheError("USAGE", "no reference given", {
      hint: "Name images, or files that list them with -f.",
    });
  }
  const { jobs, maxAgeMs, allPlatforms } = settings;
  const strict = options.isSet("strict");
  const referrers = options.isSet("referrers");
  const result = await withCache(context, (cache) =>
    cache.prefetch(references, { jobs, maxAgeMs, allPlatforms, strict, referrers, signal }),
  );
  output.result(result, () => describeBatch(result));
  requireAllTaken(result, result.images.length + result.failed.length, signal);
}

/** A reference per line; empty lines and what follows a # are left out. */
async function readList(path: string): Promise<string[]> {
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
  return content
    .split("\n")
    .map((line) => line.replace(/(^|\s)#.*$/, "").trim())
    .filter((line) => line !== "");
}
