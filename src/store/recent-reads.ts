import { formatPlatform, type Platform } from "../core/platform.js";
import type { Reference } from "../core/reference.js";
import type { RequireTrusted } from "./bytecode.js";
import { decodeRow } from "./damaged-row.js";
import type { Environment } from "./environment.js";
import { digestKey, referenceKey } from "./keys.js";
import { chooseObject, find, type ObjectChoice } from "./lookup.js";
import { type ObjectEntry, type RefRecord, type RootRecord, rootDigestOf } from "./records.js";

/** More than a loader reads by turns. */
const maxRemembered = 256;

export interface ChosenObject {
  readonly record: RootRecord;
  readonly object: ObjectEntry;
  /** Of the object, in the tree of objects. */
  readonly objectKey: Buffer;
}

interface Remembered extends ChosenObject {
  readonly platform: Platform;
  readonly choice: ObjectChoice;
  readonly key: Buffer;
  readonly row: Buffer;
}

/**
 * What references meant when they were last read. Every read compares the row in the database with what it was then, byte
 * for byte: one that is the same need not be checked, decoded and chosen from again, which takes longer than all else
 * that is done for a small object.
 */
export class RecentReads {
  readonly #environment: Environment;
  /** By reference, for whatever platforms and objects were asked for under it. */
  readonly #remembered = new Map<string, Remembered[]>();
  #count = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  /**
   * Undefined when the reference is not here. Whether it is trusted is asked at every read, and before anything is said
   * of what is in it. Only inside a snapshot. Throws like `find`, `requireTrusted` and `chooseObject`.
   */
  find(
    reference: Reference,
    platform: Platform,
    choice: ObjectChoice,
    requireTrusted?: RequireTrusted,
  ): ChosenObject | undefined {
    const known = this.#remembered
      .get(reference.toString())
      ?.find((read) => isSamePlatform(read.platform, platform) && isSameChoice(read.choice, choice));
    if (known !== undefined && this.#environment.tree("refs").holds(known.key, known.row)) {
      requireTrusted?.(reference, rootDigestOf(known.record));
      return known;
    }
    const key = referenceKey(reference.toString(), formatPlatform(platform));
    const row = this.#environment.tree("refs").get(key);
    // By its digest it may be here under another name, which is looked up each time.
    const record =
      row === undefined
        ? find(this.#environment, reference, platform)
        : decodeRow<RefRecord>("refs", key, row);
    if (record === undefined) return undefined;
    requireTrusted?.(reference, rootDigestOf(record));
    const object = chooseObject(reference, record.objects, platform, choice);
    const chosen = { record, object, objectKey: digestKey(object.digest) };
    if (row !== undefined) {
      // The caller's own may change.
      const asked = { platform, choice: { object: choice.object, program: choice.program } };
      this.#remember(reference.toString(), known, { ...chosen, ...asked, key, row });
    }
    return chosen;
  }

  #remember(reference: string, former: Remembered | undefined, read: Remembered): void {
    for (const program of read.object.programs) Object.freeze(program);
    Object.freeze(read.object.programs); // It is handed out at every read.
    if (this.#count >= maxRemembered) {
      this.#remembered.clear();
      this.#count = 0;
    }
    const others = this.#remembered.get(reference)?.filter((other) => other !== former) ?? [];
    this.#remembered.set(reference, [...others, read]);
    if (former === undefined) this.#count++;
  }
}

function isSamePlatform(one: Platform, other: Platform): boolean {
  return one.architecture === other.architecture && one.variant === other.variant && one.os === other.os;
}

function isSameChoice(one: ObjectChoice, other: ObjectChoice): boolean {
  return one.object === other.object && one.program === other.program;
}
