import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import type { Platform } from "../core/platform.js";
import type { Reference } from "../core/reference.js";
import { type GlobalValues, setGlobals } from "../image/elf/set-globals.js";
import type { Environment } from "./environment.js";
import type { ObjectChoice } from "./lookup.js";
import { type ChosenObject, RecentReads } from "./recent-reads.js";
import { manifestDigestOf, type ProgramEntry, rootDigestOf } from "./records.js";
import type { ObjectVerifier } from "./whole.js";

/** What a loader gets to know of the object it was given: the four digests by name, and what is in it. */
export interface BytecodeDescription {
  readonly reference: string;
  /** The object digest: sha256 of the object as it is stored, also when `globals` changed the bytes handed out. */
  readonly digest: Digest;
  readonly rootDigest: Digest;
  readonly manifestDigest: Digest;
  readonly layerDigest: Digest;
  readonly platform: string;
  readonly name: string;
  readonly size: number;
  readonly programs: readonly ProgramEntry[];
}

/** Which object, and what to change in the copy of it that is handed out. */
export interface BytecodeOptions extends ObjectChoice {
  /**
   * Values for global variables of `.rodata` and `.data`, written in place by their BTF types: numbers, bigints,
   * booleans, text for char arrays, names of enumerators, arrays, or bytes. The stored object stays as it is.
   */
  readonly globals?: GlobalValues | undefined;
}

export interface Bytecode extends BytecodeDescription {
  /** The ELF object; a copy of its own. */
  readonly bytes: Uint8Array;
}

/** Throws UNTRUSTED for a root that the trust policy in force refuses under this reference. */
export type RequireTrusted = (reference: Reference, root: Digest) => void;

/**
 * Reads objects for loaders: two gets (reference, then object) in one snapshot, the bytes re-hashed before they are
 * handed out. What this process reads again and again, it hands out from its own copy of what it has hashed.
 */
export class BytecodeAccess {
  readonly #environment: Environment;
  readonly #objects: ObjectVerifier;
  readonly #recent: RecentReads;
  #scratch: Buffer | undefined;

  constructor(environment: Environment, objects: ObjectVerifier) {
    this.#environment = environment;
    this.#objects = objects;
    this.#recent = new RecentReads(environment);
  }

  /** Throws NOT_CACHED, CACHE_CORRUPT, or USAGE when several objects fit the choice or a global cannot be set. */
  read(
    reference: Reference,
    platform: Platform,
    options: BytecodeOptions,
    requireTrusted?: RequireTrusted,
  ): Bytecode {
    return this.#environment.snapshot(() => {
      const found = this.#find(reference, platform, options, requireTrusted);
      return { ...describe(reference, found), bytes: this.#copy(found, options, reference) };
    });
  }

  /** Calls `use` with bytes that are gone when it returns; with globals, with a copy that has their values. */
  use<T>(
    reference: Reference,
    platform: Platform,
    options: BytecodeOptions,
    use: (view: Uint8Array, description: BytecodeDescription) => T,
    requireTrusted?: RequireTrusted,
  ): T {
    return this.#environment.snapshot(() => {
      const found = this.#find(reference, platform, options, requireTrusted);
      const hasOwn = options.globals !== undefined;
      const bytes = hasOwn ? this.#copy(found, options, reference) : this.#lend(found, reference);
      return this.#environment.guardView(() => use(bytes, describe(reference, found)));
    });
  }

  #find(
    reference: Reference,
    platform: Platform,
    choice: ObjectChoice,
    requireTrusted: RequireTrusted | undefined,
  ): ChosenObject {
    const found = this.#recent.find(reference, platform, choice, requireTrusted);
    if (found === undefined) throw notCached(reference);
    return found;
  }

  #view({ object, objectKey }: ChosenObject, reference: Reference): Buffer {
    const view = this.#environment.tree("objects").view(objectKey);
    this.#objects.verify(view, object, reference);
    return view;
  }

  #copy(found: ChosenObject, { globals }: BytecodeOptions, reference: Reference): Uint8Array {
    const bytes = this.#objects.kept(found.object.digest) ?? this.#view(found, reference);
    return globals === undefined ? Buffer.from(bytes) : withGlobals(bytes, globals, reference.toString());
  }

  /** Bytes that a loader may write over, and does not keep. */
  #lend(found: ChosenObject, reference: Reference): Buffer {
    const kept = this.#objects.kept(found.object.digest);
    if (kept === undefined) return this.#view(found, reference);
    if (this.#scratch === undefined || this.#scratch.length < kept.length)
      this.#scratch = Buffer.allocUnsafeSlow(kept.length);
    this.#scratch.set(kept);
    return this.#scratch.subarray(0, kept.length);
  }
}

function withGlobals(view: Uint8Array, globals: GlobalValues, reference: string): Uint8Array {
  try {
    return setGlobals(view, globals);
  } catch (error) {
    throw error instanceof BpfcacheError ? error.about(reference) : error;
  }
}

function describe(reference: Reference, { record, object }: ChosenObject): BytecodeDescription {
  return {
    reference: reference.toString(),
    digest: object.digest,
    rootDigest: rootDigestOf(record),
    manifestDigest: manifestDigestOf(record),
    layerDigest: object.layer,
    platform: record.platform,
    name: object.name,
    size: object.size,
    programs: object.programs,
  };
}

export function notCached(reference: Reference): BpfcacheError {
  return new BpfcacheError("NOT_CACHED", "the image is not in the cache", {
    reference: reference.toString(),
    hint: "Fetch it with bpfcache pull, or take it in from files with bpfcache seed.",
  });
}
