import type { Digest } from "../../core/digest.js";
import type { Environment } from "../environment.js";
import { type ContentKind, contentTrees } from "../holders.js";
import { digestKey, readDigestKey } from "../keys.js";
import { dropDamaged, faultOfContent } from "../quarantine.js";
import type { Fault, Meter, RowCheck } from "./fault.js";

export const contentKinds = ["manifest", "config", "layer", "object"] as const;

/** Every manifest, config, layer and object hashes to its name. */
export function contentCheck(kind: ContentKind): RowCheck {
  const tree = contentTrees[kind];
  return {
    tree,
    faultOf: (environment, key, meter) => {
      const digest = digestOfKey(key);
      if (digest === undefined) {
        const remove = (): void => environment.tree(tree).remove(key);
        return { reason: `a key of the tree ${tree} is malformed`, mend: remove };
      }
      return faultOfBytes(environment, kind, digest, meter);
    },
  };
}

function faultOfBytes(
  environment: Environment,
  kind: ContentKind,
  digest: Digest,
  meter: Meter | undefined,
): Fault | undefined {
  const key = digestKey(digest);
  const tree = contentTrees[kind];
  const reason = faultOfContent(environment, kind, digest, meter);
  // Removed since the walk came by is no fault here. That something misses it is seen from what needs it.
  if (reason === undefined || !environment.tree(tree).has(key)) return undefined;
  return { reason, mend: () => dropDamaged(environment, tree, key, reason) };
}

function digestOfKey(key: Buffer): Digest | undefined {
  try {
    const { digest, end } = readDigestKey(key);
    return end === key.length ? digest : undefined;
  } catch {
    return undefined;
  }
}
