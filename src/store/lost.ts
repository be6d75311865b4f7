import type { Digest } from "../core/digest.js";
import { soundRecordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { referenceKey, referencePrefix } from "./keys.js";
import type { PinRecord } from "./records.js";
import { pinOf, putPin } from "./usage.js";
import { encodeRecord } from "./values.js";

/**
 * A reference that was here and was lost to damage. It is remembered, in the tree quarantine under "lost", until it
 * is published again; any prefetch brings it back.
 */
export interface LostReference {
  readonly reference: string;
  readonly platform: string;
  /** What it meant; undefined when that was lost too. */
  readonly rootDigest: Digest | undefined;
  /** Given back to it when it is published again. */
  readonly pin: PinRecord | undefined;
}

const lostPrefix = Buffer.from("lost\0");

/** Only inside `commit`. */
export function rememberLost(environment: Environment, lost: LostReference): void {
  const key = Buffer.concat([lostPrefix, referenceKey(lost.reference, lost.platform)]);
  environment.tree("quarantine").put(key, encodeRecord(lost));
}

export function lostReferences(environment: Environment): LostReference[] {
  return environment
    .tree("quarantine")
    .keys(lostPrefix)
    .flatMap((key) => soundRecordAt<LostReference>(environment, "quarantine", key) ?? []);
}

export function isLost(environment: Environment, key: Buffer): boolean {
  return environment.tree("quarantine").has(Buffer.concat([lostPrefix, key]));
}

/** The reference is here again, and so is its pin, unless it has another by now. Only inside `commit`. */
export function forgetLost(environment: Environment, reference: string, platform: string): void {
  const key = Buffer.concat([lostPrefix, referenceKey(reference, platform)]);
  if (!environment.tree("quarantine").has(key)) return;
  const pin = soundRecordAt<LostReference>(environment, "quarantine", key)?.pin;
  environment.tree("quarantine").remove(key);
  if (pin !== undefined && pinOf(environment, reference) === undefined) putPin(environment, reference, pin);
}

/** On all platforms: the user does not want it back. Only inside `commit`. Returns whether there was one. */
export function abandonLost(environment: Environment, reference: string): boolean {
  const keys = environment.tree("quarantine").keys(Buffer.concat([lostPrefix, referencePrefix(reference)]));
  for (const key of keys) environment.tree("quarantine").remove(key);
  return keys.length > 0;
}
