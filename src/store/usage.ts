import type { Digest } from "../core/digest.js";
import type { Environment } from "./environment.js";
import { digestKey, referencePrefix } from "./keys.js";
import type { PinRecord } from "./records.js";
import { decodeRecord, decodeTime, encodeRecord, encodeTime } from "./values.js";

// Rows of the tree usage: a manifest's digest key for when it was last used (its first byte is 1 or 2), and
// "pin", a zero byte and the reference for a pin.

/** Uses closer together than this are one: a much-read image then costs one write a minute. */
const useBucketMs = 60_000;

const pinPrefix = Buffer.from("pin\0");

export function pinKey(reference: string): Buffer {
  return Buffer.concat([pinPrefix, referencePrefix(reference)]);
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
  const row = environment.tree("usage").get(pinKey(reference));
  return row === undefined ? undefined : decodeRecord<PinRecord>(row);
}

export function putPin(environment: Environment, reference: string, pin: PinRecord): void {
  environment.tree("usage").put(pinKey(reference), encodeRecord(pin));
}

export function removePin(environment: Environment, reference: string): void {
  environment.tree("usage").remove(pinKey(reference));
}
