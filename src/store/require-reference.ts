import type { Platform } from "../core/platform.js";
import type { Reference } from "../core/reference.js";
import { notCached } from "./bytecode.js";
import { recordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { referencesTo } from "./holders.js";
import { find, findReference } from "./lookup.js";
import { manifestDigestOf, type RefRecord, type RootRecord } from "./records.js";

/** What the reference means on the platform, with when and from where it came. Throws NOT_CACHED. */
export function requireReference(
  environment: Environment,
  reference: Reference,
  platform: Platform,
): RefRecord {
  const exact = findReference(environment, reference, platform);
  if (exact !== undefined) return exact;
  const found = find(environment, reference, platform);
  const holder = found && anyReferenceTo(environment, found);
  if (found === undefined || holder === undefined) throw notCached(reference);
  return { ...holder, ...found, reference: reference.toString() };
}

/** A digest may be asked for under a name it was not taken in by: times and source are then those of one it was. */
function anyReferenceTo(environment: Environment, record: RootRecord): RefRecord | undefined {
  const [holder] = referencesTo(environment, manifestDigestOf(record));
  return holder && recordAt<RefRecord>(environment, "refs", holder);
}
