import type { Digest } from "../core/digest.js";
import { soundRecordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { digestKey, readReferenceKey, referencePrefix } from "./keys.js";
import type { PinRecord } from "./records.js";
import { decodeTime, encodeRecord, encodeTime } from "./values.js";

// Rows of the tree usage: a manifest's digest key for when it was last used (its first byte is 1 or 2), and
// "pin", a zero byte and the reference for a pin.

/** Uses closer together than this are one: a much-read image then costs one write a minute. */
const useBucketMs = 60_000;

const pinPrefix = Buffer.from("pin\0");

function pinKey(reference: string): Buffer {
  return Buffer.concat([pinPrefix, referencePrefix(reference)]);
}

/** The reference that a row of the tree is a pin of; undefined for other rows, and where its name is only a hash. */
export function pinnedReference(key: Buffer): string | undefined {
  if (!key.subarray(0, pinPrefix.length).equals(pinPrefix)) return undefined;
  return readReferenceKey(key.subarray(pinPrefix.length)).reference;
}

export function lastUsedAt(environment: Environment, manifest: Digest): number | undefined {
  const row = environment.tree("usage").get(digestKey(manifest));
  return row === undefined ? undefined : decodeTime(row);
}

/** Notes a use; `now` is in milliseconds since 1970. A clock that went backwards is believed. */
export function noteUse(environment: Environment, manifest: Digest, now: number): void {
  const last = lastUsedAt(environment, manifest);
  if (last !== undefined && Math.abs(now - last) < useBucketMs) return;
  environment.commit(() => {
    const key = digestKey(manifest);
    if (environment.tree("images").has(key)) environment.tree("usage").put(key, encodeTime(now));
  });
}

export function isPinned(environment: Environment, reference: string): boolean {
  return environment.tree("usage").has(pinKey(reference));
}

export function pinOf(environment: Environment, reference: string): PinRecord | undefined {
  const key = pinKey(reference);
  if (!environment.tree("usage").has(key)) return undefined;
  // That it is pinned is what counts, whether it can still be read by whom or not.
  return soundRecordAt<PinRecord>(environment, "usage", key) ?? unknownPin();
}

export function unknownPin(): PinRecord {
  return { owner: "", reason: "the record of this pin was damaged", pinnedAt: Date.now() };
}

export function putPin(environment: Environment, reference: string, pin: PinRecord): void {
  environment.tree("usage").put(pinKey(reference), encodeRecord(pin));
}

export function removePin(environment: Environment, reference: string): void {
  environment.tree("usage").remove(pinKey(reference));
}
