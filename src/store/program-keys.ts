import { createHash } from "node:crypto";
import type { Environment } from "./environment.js";

// In the tree programs a program's keys begin with the boot and the kernel id, in pending with the load, drawn at
// random, and its number in that. As holders of an object they have a byte in front that neither a digest's key nor a
// reference begins with.

const programMark = 3;
const loadMark = 4;
const bootBytes = 16;

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** All programs of one boot. */
export function bootPrefix(bootId: string): Buffer {
  if (uuid.test(bootId)) return Buffer.from(bootId.replaceAll("-", ""), "hex");
  return createHash("sha256").update(bootId).digest().subarray(0, bootBytes); // Of a system without /proc, and in tests.
}

export function programPrefix(boot: Buffer, id: number): Buffer {
  return Buffer.concat([boot, uint32(id)]);
}

/** The prefix of the program that a row of the tree programs belongs to. */
export function prefixOfProgramRow(key: Buffer): Buffer {
  return key.subarray(0, bootBytes + 4);
}

/** Of the 16 bytes that name a load, in hexadecimal. */
export function loadPrefix(loadId: string): Buffer {
  return Buffer.from(loadId, "hex");
}

/** The load that a row of the tree pending belongs to. */
export function loadOfRow(key: Buffer): string {
  return key.toString("hex", 0, 16);
}

/** Number 0 is the load itself, its programs are counted from 1. */
export function pendingPrefix(loadId: string, number: number): Buffer {
  return Buffer.concat([loadPrefix(loadId), uint32(number)]);
}

/** The parts of a program's prefix; the boot only as bytes. */
export function readProgramPrefix(prefix: Buffer): { readonly boot: Buffer; readonly id: number } {
  return { boot: prefix.subarray(0, bootBytes), id: prefix.readUInt32BE(bootBytes) };
}

export function programHolder(bootId: string, id: number): Buffer {
  return Buffer.concat([Buffer.of(programMark), programPrefix(bootPrefix(bootId), id)]);
}

/** What is being loaded holds its object from before the kernel is asked. */
export function loadHolder(loadId: string): Buffer {
  return Buffer.concat([Buffer.of(loadMark), loadPrefix(loadId)]);
}

export function isProgramHolder(holder: Buffer): boolean {
  return holder[0] === programMark || holder[0] === loadMark;
}

/** Whether a holder is a program of this boot, or a load under way. */
export function isLoadedHolder(environment: Environment, holder: Buffer): boolean {
  const prefix = holder.subarray(1);
  if (holder[0] === loadMark) return environment.tree("pending").hasPrefix(prefix);
  if (holder[0] !== programMark || !environment.tree("programs").hasPrefix(prefix)) return false;
  return bootPrefix(environment.bootId).equals(prefix.subarray(0, bootBytes));
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}
