import { describeBatch } from "./describe.js";
import type { VerbContext } from "./verb.js";
import { requireAllTaken, withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, options, settings, output, signal } = context;
  const result = await withCache(context, (cache) =>
    cache.seed(words, {
      input: words.includes("-") ? process.stdin : undefined,
      as: options.value("as"),
      overwrite: options.isSet("overwrite"),
      strict: options.isSet("strict"),
      jobs: settings.jobs,
      allPlatforms: settings.allPlatforms,
      signal,
    }),
  );
  output.result(result, () => describeBatch(result, context.tally, true));
  requireAllTaken(result, result.images.length + result.failed.length, signal);
}
