import { formatBytes } from "./output.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const compaction = await withCache(context, (cache) => cache.compact());
  const { fileBytesBefore, fileBytesAfter, bytesFreed } = compaction;
  context.output.result(
    compaction,
    () =>
      `${formatBytes(fileBytesBefore)} before, ${formatBytes(fileBytesAfter)} now: ${formatBytes(bytesFreed)} given back\n`,
  );
}
