import type { BytecodeCache } from "../cache.js";
import { BpfcacheError } from "../core/errors.js";
import { openCache } from "../open-cache.js";
import { toCacheOptions } from "./settings.js";
import type { VerbContext } from "./verb.js";

/** Opens the cache that the settings name, for as long as `use` runs. */
export async function withCache<T>(
  context: VerbContext,
  use: (cache: BytecodeCache) => Promise<T>,
): Promise<T> {
  const cache = await openCache({ ...toCacheOptions(context.settings), onEvent: context.onEvent });
  try {
    return await use(cache);
  } finally {
    await cache.close();
  }
}

/** How a verb over many images ends when some of them failed. */
export function requireAllTaken(
  { failed }: { readonly failed: readonly { readonly code: string }[] },
  total: number,
  signal: AbortSignal,
): void {
  if (failed.length === 0) return;
  if (signal.aborted) throw new BpfcacheError("INTERRUPTED", "interrupted; what was cached stays");
  throw new BpfcacheError("PARTIAL", `${failed.length} of ${total} images failed`);
}
