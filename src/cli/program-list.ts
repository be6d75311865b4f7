import { describeList } from "./describe-program.js";
import type { VerbContext } from "./verb.js";
import { withCache } from "./with-cache.js";

export async function run(context: VerbContext): Promise<void> {
  const { output, signal } = context;
  const list = await withCache(context, (cache) => cache.programs.list(signal));
  output.result(list, () => describeList(list));
}
