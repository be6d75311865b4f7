import { describePulled } from "./describe.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, options, settings, output, signal } = context;
  const [reference = ""] = words;
  const strict = options.isSet("strict");
  const referrers = options.isSet("referrers");
  const image = await withCache(context, (cache) =>
    cache.pull(reference, { maxAgeMs: settings.maxAgeMs, strict, referrers, signal }),
  );
  output.result(image, () => describePulled(image));
}
