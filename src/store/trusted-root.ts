import { createHash } from "node:crypto";
import { soundRecordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { encodeRecord } from "./values.js";

/** Certificate authorities and logs that keyless signatures are checked against, as a mirror of Sigstore's published them. */
export interface TrustedRootRecord {
  /** The document trusted_root.json, parsed. */
  readonly root: unknown;
  /** Milliseconds since 1970. */
  readonly fetchedAt: number;
}

export function trustedRootOf(environment: Environment, mirror: string): TrustedRootRecord | undefined {
  return soundRecordAt<TrustedRootRecord>(environment, "meta", keyOf(mirror));
}

/** Only inside `commit`. */
export function putTrustedRoot(environment: Environment, mirror: string, record: TrustedRootRecord): void {
  environment.tree("meta").put(keyOf(mirror), encodeRecord(record));
}

function keyOf(mirror: string): Buffer {
  return Buffer.from(`trustedRoot ${createHash("sha256").update(mirror).digest("hex")}`);
}
