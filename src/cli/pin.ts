import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, options, output } = context;
  const owner = options.value("owner") ?? "";
  const reason = options.value("reason") ?? "";
  await withCache(context, async (cache) => {
    for (const reference of words) cache.pin(reference, { owner, reason });
  });
  output.result({ pinned: words }, () => words.map((reference) => `pinned ${reference}\n`).join(""));
}
