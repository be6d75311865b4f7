import { refusal } from "./refusal.js";

const space = 0x20;
const newline = 0x0a;
const equals = 0x3d;

/** What a pax header says of the next entry. */
export interface PaxNames {
  readonly path?: string | undefined;
  readonly linkPath?: string | undefined;
}

/**
 * Checks the records of a pax header ("length key=value\n", POSIX.1-2017 pax, "pax Extended Header") and returns how
 * they name the next entry. `global` records hold for all entries to come; tar-stream and GNU tar differ in
 * how they apply them, so those may not name or size anything. Throws INVALID_IMAGE.
 */
export function checkPaxRecords(body: Uint8Array, global: boolean): PaxNames {
  let path: string | undefined;
  let linkPath: string | undefined;
  for (const { key, value } of paxRecords(body)) {
    // Some readers believe this size and others the header's: the entries after it would not be the same.
    if (key === "size") throw refusal("a pax record overrides an entry's size");
    if (key.startsWith("GNU.sparse.")) throw refusal("it has a sparse file");
    if (key !== "path" && key !== "linkpath") continue;
    if (global) throw refusal(`a global pax record sets ${key} for every entry`);
    if (value.includes(0)) throw refusal(`a pax ${key} contains NUL`);
    const name = Buffer.from(value).toString("utf8");
    if (key === "path") path = name;
    else linkPath = name;
  }
  return { path, linkPath };
}

interface PaxRecord {
  readonly key: string;
  readonly value: Uint8Array;
}

function* paxRecords(body: Uint8Array): Generator<PaxRecord, void, void> {
  let at = 0;
  while (at < body.byteLength) {
    const length = recordLength(body, at);
    const end = at + length.value;
    if (end > body.byteLength || body[end - 1] !== newline) throw malformed();
    const content = body.subarray(at + length.digits + 1, end - 1);
    const separator = content.indexOf(equals);
    if (separator <= 0) throw malformed();
    yield {
      key: Buffer.from(content.subarray(0, separator)).toString("utf8"),
      value: content.subarray(separator + 1),
    };
    at = end;
  }
}

/** The decimal length in front of a record counts the whole record, itself included. */
function recordLength(body: Uint8Array, start: number): { readonly value: number; readonly digits: number } {
  let value = 0;
  let at = start;
  for (; body[at] !== space; at++) {
    const digit = (body[at] ?? 0) - 0x30;
    if (digit < 0 || digit > 9 || at - start > 8) throw malformed();
    value = value * 10 + digit;
  }
  const digits = at - start;
  if (digits === 0 || value < digits + "  =\n".length - 1) throw malformed();
  return { value, digits };
}

function malformed(): Error {
  return refusal("a pax record is malformed");
}
