import { runChild } from "./child.js";
import type { LostReference } from "./lost.js";
import { type PinRecord, type RefRecord, rootDigestOf } from "./records.js";
import { pinKey } from "./usage.js";
import { decodeRecord } from "./values.js";

const timeoutMs = 30_000;

/**
 * The references and pins that can still be read from a damaged environment. A child process reads them, one for each
 * tree: it may die at any row, and what it printed until then counts. A row that its checksum does not fit is left out.
 */
export function salvage(directory: string): LostReference[] {
  const pins = new Map(rowsOf(directory, "usage").map(({ key, value }) => [key.toString("hex"), value]));
  return rowsOf(directory, "refs").flatMap(({ value }) => {
    const record = decodeOrNothing<RefRecord>(value);
    if (record === undefined) return [];
    const { reference, platform } = record;
    const pin = pins.get(pinKey(reference).toString("hex"));
    return [
      {
        reference,
        platform,
        rootDigest: rootDigestOf(record),
        pin: pin && decodeOrNothing<PinRecord>(pin),
      },
    ];
  });
}

function rowsOf(directory: string, tree: "refs" | "usage"): { key: Buffer; value: Buffer }[] {
  const { stdout } = runChild("salvage-walk.js", [directory, tree], timeoutMs);
  const lines = stdout.split("\n").slice(0, -1); // What has no end of line was cut short.
  return lines.map((line) => {
    const [key = "", value = ""] = line.split(" ");
    return { key: Buffer.from(key, "base64"), value: Buffer.from(value, "base64") };
  });
}

function decodeOrNothing<T>(value: Buffer): T | undefined {
  try {
    return decodeRecord<T>(value);
  } catch {
    return undefined; // Damaged, as much of it is.
  }
}
