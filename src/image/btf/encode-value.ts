import { BpfcacheError } from "../../core/errors.js";
import type { ByteOrder } from "../../core/platform.js";
import type { Btf, BtfType } from "./btf.js";
import { kind } from "./kinds.js";
import { typeName } from "./type-name.js";

/**
 * What a global variable may be set to. A string is text for an array of char, which it must leave room in for the
 * NUL, or the name of an enumerator; an array has a value for each element; bytes are the variable as it lies
 * in memory, and the only way to set a struct, a union or a 128-bit integer.
 */
export type GlobalValue = number | bigint | boolean | string | Uint8Array | readonly GlobalValue[];

/** The variable that is set, for messages, and what is known of how it lies in memory. */
export interface GlobalTarget {
  readonly name: string;
  readonly size: number;
  readonly byteOrder: ByteOrder;
}

/** A value as the BTF type has it in memory, exactly as large as the type. Throws USAGE when it does not fit. */
export function encodeValue(btf: Btf, typeId: number, value: GlobalValue, target: GlobalTarget): Uint8Array {
  const { size } = target;
  if (value instanceof Uint8Array) return exactBytes(value, typeName(btf, typeId), target);
  const type = btf.resolve(typeId);
  switch (type.kind) {
    case kind.int:
      return encodeInteger(btf, typeId, value, target);
    case kind.enum:
    case kind.enum64:
      return encodeEnum(btf, type, typeName(btf, typeId), value, target);
    case kind.pointer:
      return writeInteger(value, typeName(btf, typeId), unsignedRange(size), target);
    case kind.array:
      return encodeArray(btf, typeId, value, target);
    default:
      throw misfit(target, `${typeName(btf, typeId)} is set as its ${size} bytes only`);
  }
}

const integerSizes = new Set([1, 2, 4, 8]);

/** A value for a variable of unknown type: bytes, or an integer when it is as large as one. Throws USAGE. */
export function encodeUntyped(value: GlobalValue, target: GlobalTarget): Uint8Array {
  const { size } = target;
  const what = `a variable of ${size} bytes and unknown type`;
  if (value instanceof Uint8Array) return exactBytes(value, what, target);
  if (typeof value === "string" || typeof value === "object" || !integerSizes.has(size)) {
    throw misfit(
      target,
      `without BTF for it, ${what} is set as bytes${integerSizes.has(size) ? " or an integer" : ""}`,
    );
  }
  return writeInteger(value, what, eitherRange(size), target);
}

function encodeInteger(btf: Btf, typeId: number, value: GlobalValue, target: GlobalTarget): Uint8Array {
  const { size } = target;
  const name = typeName(btf, typeId);
  if (!integerSizes.has(size)) throw misfit(target, `${name} is set as its ${size} bytes only`);
  const { isSigned, isBoolean } = btf.encodingOf(btf.resolve(typeId));
  if (isBoolean) return writeInteger(value, name, [0n, 1n], target);
  return writeInteger(value, name, isSigned ? signedRange(size) : unsignedRange(size), target);
}

function encodeEnum(
  btf: Btf,
  type: BtfType,
  name: string,
  value: GlobalValue,
  target: GlobalTarget,
): Uint8Array {
  const { size } = target;
  if (!integerSizes.has(size)) throw misfit(target, `${name} is set as its ${size} bytes only`);
  if (typeof value !== "string") return writeInteger(value, name, eitherRange(size), target);
  const all = btf.enumerators(type);
  const enumerator = all.find((candidate) => candidate.name === value);
  if (enumerator !== undefined) return integerBytes(enumerator.bits, target);
  throw misfit(
    target,
    `${name} has no ${JSON.stringify(value)}; it has ${listed(all.map((one) => one.name))}`,
  );
}

function encodeArray(btf: Btf, typeId: number, value: GlobalValue, target: GlobalTarget): Uint8Array {
  const { typeId: elementId, count } = btf.elementOf(btf.resolve(typeId));
  const name = typeName(btf, typeId);
  const elementBytes = btf.sizeOf(elementId) ?? 0;
  if (typeof value === "string") {
    if (!isCharacter(btf, elementId)) throw misfit(target, `${name} holds no text`);
    return textBytes(value, name, target);
  }
  if (!Array.isArray(value)) throw misfit(target, `${name} takes a value for each of its ${count} elements`);
  if (value.length !== count) {
    throw misfit(target, `${name} has ${count} elements, and there are ${value.length} values`);
  }
  // A hole of a sparse array is undefined, whatever the types say, and refused like any other nonsense.
  const elements = Array.from(value, (element: GlobalValue, index) =>
    encodeValue(btf, elementId, element, {
      ...target,
      name: `${target.name}[${index}]`,
      size: elementBytes,
    }),
  );
  return Buffer.concat(elements);
}

/** Any integer of one byte that is no boolean: C programs hold text in char and __u8 alike. */
function isCharacter(btf: Btf, typeId: number): boolean {
  const type = btf.resolve(typeId);
  return type.kind === kind.int && btf.sizeOf(typeId) === 1 && !btf.encodingOf(type).isBoolean;
}

function textBytes(text: string, type: string, target: GlobalTarget): Uint8Array {
  if (text.includes("\0")) throw misfit(target, "text for a C program cannot contain NUL");
  const length = Buffer.byteLength(text) + 1;
  if (length > target.size) {
    throw misfit(target, `${type} holds ${target.size} bytes, the text and its NUL are ${length}`);
  }
  const bytes = Buffer.alloc(target.size);
  bytes.write(text);
  return bytes;
}

function exactBytes(bytes: Uint8Array, type: string, target: GlobalTarget): Uint8Array {
  if (bytes.byteLength === target.size) return bytes;
  throw misfit(target, `${type} is ${target.size} bytes, the value is ${bytes.byteLength}`);
}

type Range = readonly [least: bigint, most: bigint];

function signedRange(size: number): Range {
  const half = 1n << BigInt(8 * size - 1);
  return [-half, half - 1n];
}

function unsignedRange(size: number): Range {
  return [0n, (1n << BigInt(8 * size)) - 1n];
}

/** Where nobody can tell whether it is signed. */
function eitherRange(size: number): Range {
  return [signedRange(size)[0], unsignedRange(size)[1]];
}

function writeInteger(
  value: GlobalValue,
  type: string,
  [least, most]: Range,
  target: GlobalTarget,
): Uint8Array {
  const integer = toInteger(value);
  if (integer === undefined) {
    throw misfit(
      target,
      `${type} takes an integer${typeof value === "number" ? ", and beyond 2^53 a bigint" : ""}`,
    );
  }
  if (integer < least || integer > most) {
    throw misfit(target, `${integer} is out of range: ${type} holds ${least} to ${most}`);
  }
  return integerBytes(integer, target);
}

/** Numbers that JavaScript has rounded already are not taken for integers. */
function toInteger(value: GlobalValue): bigint | undefined {
  if (typeof value === "bigint") return value;
  if (typeof value === "boolean") return value ? 1n : 0n;
  return typeof value === "number" && Number.isSafeInteger(value) ? BigInt(value) : undefined;
}

function integerBytes(integer: bigint, { size, byteOrder }: GlobalTarget): Uint8Array {
  const bytes = Buffer.alloc(8);
  const bits = BigInt.asUintN(64, integer);
  if (byteOrder === "little") {
    bytes.writeBigUInt64LE(bits);
    return bytes.subarray(0, size);
  }
  bytes.writeBigUInt64BE(bits);
  return bytes.subarray(8 - size);
}

const maxListed = 20;

/** Names for a message: the first of many. */
export function listed(names: readonly string[]): string {
  if (names.length === 0) return "none";
  const more = names.length > maxListed ? ` and ${names.length - maxListed} more` : "";
  return `${names.slice(0, maxListed).join(", ")}${more}`;
}

function misfit({ name }: GlobalTarget, reason: string): BpfcacheError {
  return new BpfcacheError("USAGE", `the global ${name} cannot be set: ${reason}`);
}
