import { formatBytes } from "./output.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { words, settings, output } = context;
  const removed = await withCache(context, async (cache) =>
    words.map((reference) => {
      const { bytesFreed } = cache.remove(reference, { platform: settings.platform });
      return { reference, bytes: bytesFreed, reason: "asked" };
    }),
  );
  const bytesFreed = removed.reduce((sum, { bytes }) => sum + bytes, 0);
  output.result({ removed, bytesFreed }, () =>
    removed.map(({ reference, bytes }) => `removed ${reference}, ${formatBytes(bytes)} freed\n`).join(""),
  );
}
