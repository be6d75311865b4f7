import type { Digest } from "../core/digest.js";
import { noteClock } from "./clock.js";
import { soundRecordAt } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { digestKey, readDigestKey, readReferenceKey, referencePrefix } from "./keys.js";
import type { PinRecord } from "./records.js";
import { decodeTime, encodeRecord, encodeTime } from "./values.js";

// Rows of the tree usage: a manifest's digest key for when it was last used (its first byte is 1 or 2); "lru", a zero
// byte, that time and the digest key for the order in which images were used; and "pin", a zero byte and the reference
// for a pin.

/** Uses closer together than this are one: a much-read image then costs one write a minute. */
export const useBucketMs = 60_000;

const orderPrefix = Buffer.from("lru\0");

/** What stands for all rows of the order in a report. */
export const usageOrderKey = orderPrefix;
const timeBytes = 8;

const pinPrefix = Buffer.from("pin\0");

export function pinKey(reference: string): Buffer {
  return Buffer.concat([pinPrefix, referencePrefix(reference)]);
}

/** The reference that a row of the tree is a pin of; undefined for other rows, and where its name is only a hash. */
export function pinnedReference(key: Buffer): string | undefined {
  if (!key.subarray(0, pinPrefix.length).equals(pinPrefix)) return undefined;
  return readReferenceKey(key.subarray(pinPrefix.length)).reference;
}

export function lastUsedAt(environment: Environment, manifest: Digest): number | undefined {
  const row = environment.tree("usage").view(digestKey(manifest));
  return row && decodeTime(row);
}

/** Notes a use; `now` is in milliseconds since 1970. A clock that went backwards is believed; see clock.ts. */
export function noteUse(environment: Environment, manifest: Digest, now: number): void {
  const last = lastUsedAt(environment, manifest);
  if (last !== undefined && Math.abs(now - last) < useBucketMs) return;
  environment.commit(() => {
    if (environment.tree("images").has(digestKey(manifest))) putLastUse(environment, manifest, now);
  });
}

/** Only inside `commit`, and of an image that is here. */
export function putLastUse(environment: Environment, manifest: Digest, time: number): void {
  removeLastUse(environment, manifest);
  environment.tree("usage").put(digestKey(manifest), encodeTime(time));
  environment.tree("usage").put(orderKey(time, manifest), present);
  noteClock(environment);
}

/** Only inside `commit`. */
export function removeLastUse(environment: Environment, manifest: Digest): void {
  const last = lastUsedAt(environment, manifest);
  environment.tree("usage").remove(digestKey(manifest));
  if (last !== undefined) environment.tree("usage").remove(orderKey(last, manifest));
}

const present = Buffer.of(1);

function orderKey(time: number, manifest: Digest): Buffer {
  const at = Buffer.alloc(timeBytes);
  at.writeBigUInt64BE(BigInt(time));
  return Buffer.concat([orderPrefix, at, digestKey(manifest)]);
}

export interface LastUse {
  readonly manifest: Digest;
  /** Milliseconds since 1970. */
  readonly usedAt: number;
  /** Where it stands in the order. */
  readonly position: Buffer;
}

/** The images whose last use is longest ago, the first of them first: at most `limit`, after `position` if given. */
export function leastRecentlyUsed(
  environment: Environment,
  position: Buffer | undefined,
  limit: number,
): LastUse[] {
  return environment
    .tree("usage")
    .keysAfter(orderPrefix, position, limit)
    .map((key) => ({
      manifest: readDigestKey(key, orderPrefix.length + timeBytes).digest,
      usedAt: Number(key.readBigUInt64BE(orderPrefix.length)),
      position: key,
    }));
}

/**
 * Makes the order anew from the times of use; an image without one counts as used at `unknownUse`. Only inside
 * `commit`.
 */
export function rebuildUsageIndex(environment: Environment, unknownUse: number = Date.now()): void {
  const usage = environment.tree("usage");
  for (const key of usage.keys(orderPrefix)) usage.remove(key);
  for (const key of environment.tree("images").keys()) {
    const { digest } = readDigestKey(key);
    putLastUse(environment, digest, lastUsedAt(environment, digest) ?? unknownUse);
  }
}

/** Whether the order has each image that is here once, at its time, and nothing else. */
export function isUsageIndexRight(environment: Environment): boolean {
  const rows = environment.tree("usage").keys(orderPrefix);
  const images = environment.tree("images").keys();
  const times = images.map((key) => lastUsedAt(environment, readDigestKey(key).digest));
  const expected = images.map((key, i) => orderKey(times[i] ?? 0, readDigestKey(key).digest).toString("hex"));
  const here = new Set(rows.map((row) => row.toString("hex")));
  return here.size === expected.length && expected.every((row) => here.has(row));
}

export function isPinned(environment: Environment, reference: string): boolean {
  return environment.tree("usage").has(pinKey(reference));
}

/** The same for a long list: pins are few, and all of them are read at once. */
export function pinTest(environment: Environment): (reference: string) => boolean {
  const pins = new Set(environment.tree("usage").keys(pinPrefix).map(asText));
  return (reference) => pins.size > 0 && pins.has(asText(pinKey(reference)));
}

/** A key as what a set can tell apart. */
function asText(key: Buffer): string {
  return key.toString("latin1");
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
