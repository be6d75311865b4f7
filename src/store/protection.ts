import type { Environment } from "./environment.js";
import { isLeased } from "./lease-rows.js";
import type { RefRecord } from "./records.js";
import { isPinned } from "./usage.js";

/** Whether neither prune nor the budget may remove a reference: it is pinned, or somebody is pulling it. */
export function isProtected(environment: Environment, { reference, platform }: RefRecord): boolean {
  return isPinned(environment, reference) || isLeased(environment, reference, platform);
}
