import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { digestOf } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import { type BpfObject, type BpfProgram, readBpfObject } from "../image/elf/bpf-object.js";
import { type GlobalValues, readGlobalValues, setGlobals } from "../image/elf/set-globals.js";
import type { PullPolicy } from "../pull/policy.js";
import type { Bytecode } from "../store/bytecode.js";
import type { ProgramLocation } from "./location.js";

/** An object that is ready to be loaded, and what is known of it. */
export interface Loadable {
  /** A file's name. */
  readonly name: string;
  readonly bytes: Uint8Array;
  readonly object: BpfObject;
  readonly location: ProgramLocation;
  /** Values that were set in the bytes. */
  readonly globals: ReadonlyMap<string, Uint8Array>;
}

/** From the cache, with the globals set already. */
export function fromImage(
  { bytes, digest, name, ...rest }: Bytecode,
  globals: GlobalValues | undefined,
  pullPolicy: PullPolicy,
): Loadable {
  const { reference, platform, rootDigest, manifestDigest, layerDigest } = rest;
  const objectDigest = digest;
  const digests = { rootDigest, manifestDigest, layerDigest, objectDigest };
  return {
    name,
    bytes,
    object: readBpfObject(bytes),
    location: { kind: "image", reference, platform, ...digests, pullPolicy },
    globals: valuesOf(bytes, globals),
  };
}

/** Throws USAGE for a file that cannot be read, and what setting globals does. */
export function fromFile(path: string, globals: GlobalValues | undefined): Loadable {
  const file = readObject(path);
  const object = readBpfObject(file);
  const bytes = globals === undefined ? file : setGlobals(file, globals);
  return {
    name: basename(path),
    bytes,
    object,
    location: { kind: "file", path, objectDigest: digestOf(file) },
    globals: valuesOf(bytes, globals),
  };
}

function valuesOf(bytes: Uint8Array, globals: GlobalValues | undefined): Map<string, Uint8Array> {
  return globals === undefined ? new Map() : readGlobalValues(bytes, Object.keys(globals));
}

/** Those of an object's programs that are asked for, or all that load by themselves. Throws USAGE. */
export function chooseProgramsOf(object: BpfObject, wanted: readonly string[]): readonly BpfProgram[] {
  const names = [...new Set(wanted)];
  const chosen =
    names.length === 0
      ? object.programs.filter(({ autoload }) => autoload)
      : names.flatMap((name) => object.programs.find((program) => program.name === name) ?? []);
  if (chosen.length > 0 && (names.length === 0 || chosen.length === names.length)) return chosen;
  const missing = names.find((name) => !object.programs.some((program) => program.name === name));
  const there = object.programs.map(({ name }) => name).join(", ");
  throw new BpfcacheError(
    "USAGE",
    missing === undefined
      ? "the object has no program that loads by itself"
      : `the object has no program ${missing}`,
    { hint: `It has: ${there}.` },
  );
}

function readObject(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new BpfcacheError("USAGE", `the object cannot be read: ${reason}`, { cause });
  }
}
