import type { BytecodeCache } from "./cache.js";
import type { CacheOptions } from "./options.js";

/**
 * Opens a cache, making it when there is none. Throws USAGE, CACHE_CORRUPT, CACHE_FULL.
 *
 * What pulling needs is loaded here and not when the package is imported: a loader, which only wants `openReader`,
 * pays for none of it.
 *
 * @example
 * const cache = await openCache({ directory: "/var/lib/bpfcache" });
 * const image = await cache.pull("quay.io/org/program:v1", { pullPolicy: "IfNotPresent" });
 * await cache.close();
 */
export async function openCache(options: CacheOptions = {}): Promise<BytecodeCache> {
  const { BytecodeCache } = await import("./cache.js");
  const { Spans } = await import("./spans.js");
  return BytecodeCache.open(options, await Spans.load());
}
