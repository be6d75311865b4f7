import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, output } = context;
  await withCache(context, async (cache) => {
    for (const reference of words) cache.unpin(reference);
  });
  output.result({ unpinned: words }, () => words.map((reference) => `unpinned ${reference}\n`).join(""));
}
