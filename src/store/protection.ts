import type { Environment } from "./environment.js";
import type { RefRecord } from "./records.js";
import { isPinned } from "./usage.js";

/** Whether neither prune nor the budget may remove what a reference means. */
export function isProtected(environment: Environment, record: RefRecord): boolean {
  return isPinned(environment, record.reference);
}
