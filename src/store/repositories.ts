import { parseReference } from "../core/reference.js";
import { decodeRow } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import type { RefRecord } from "./records.js";

/** The tags of `host/repository` that are here, each once, in the order of their bytes. */
export function tagsOf(environment: Environment, repository: string): string[] {
  const tags = new Set<string>();
  for (const { key, value } of environment.tree("refs").entries(Buffer.from(`${repository}:`))) {
    const { tag, digest } = parseReference(decodeRow<RefRecord>("refs", key, value).reference);
    if (tag !== undefined && digest === undefined) tags.add(tag);
  }
  return [...tags].sort();
}

/** Every repository that something is here of, as `host/repository`, in the order of their bytes. */
export function repositories(environment: Environment): string[] {
  const names = new Set<string>();
  for (const { key, value } of environment.tree("refs").entries()) {
    names.add(parseReference(decodeRow<RefRecord>("refs", key, value).reference).name);
  }
  return [...names].sort();
}
