import type { Digest } from "../core/digest.js";
import type { Environment } from "./environment.js";
import { holdersOf } from "./holders.js";
import { isLeased } from "./lease-rows.js";
import { isLoadedHolder } from "./program-keys.js";
import type { RefRecord } from "./records.js";
import { isPinned } from "./usage.js";

/**
 * Whether neither prune nor the budget may remove a reference: it is pinned, somebody is pulling it, or a program of
 * this boot was loaded from it.
 */
export function isProtected(environment: Environment, { reference, platform, objects }: RefRecord): boolean {
  return (
    isPinned(environment, reference) ||
    isLeased(environment, reference, platform) ||
    objects.some(({ digest }) => isLoaded(environment, digest))
  );
}

/** Whether a program in the kernel, or one on its way there, came from this object. */
export function isLoaded(environment: Environment, object: Digest): boolean {
  return holdersOf(environment, "object", object).some((holder) => isLoadedHolder(environment, holder));
}
