import { setImmediate as turn } from "node:timers/promises";
import { type ErrorCode, toBpfcacheError } from "../../core/errors.js";
import { type EventSink, emit } from "../../core/events.js";
import { soundRecordAt } from "../damaged-row.js";
import type { Environment } from "../environment.js";
import { isFoundByLmdb } from "../failure.js";
import { contentTrees, removeReference } from "../holders.js";
import { loseReference, type QuarantineNote, quarantineNotes } from "../quarantine.js";
import { type RefRecord, rootDigestOf } from "../records.js";
import { encodeRecord } from "../values.js";
import { isWhole } from "../whole.js";
import { contentCheck, contentKinds } from "./content.js";
import type { RowCheck } from "./fault.js";
import { indexChecks } from "./indexes.js";
import { examinePages } from "./pages.js";
import { recordChecks } from "./records.js";
import { closureChecks } from "./references.js";
import { type ScrubFinding, Suspects } from "./suspects.js";
import { totalChecks } from "./totals.js";
import { walk } from "./walk.js";

export type { ScrubFinding };

export interface ScrubOptions {
  /** Makes the image of a reference whole again, from what is here or from where it came. Without it nothing is changed. */
  readonly bringBack?: ((record: RefRecord) => Promise<unknown>) | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onEvent?: EventSink | undefined;
}

/** The JSON document `scrub`. */
export interface ScrubReport {
  /** Rows that were looked at. */
  readonly checked: number;
  /** Bytes that were hashed. */
  readonly bytes: number;
  /** What is still wrong, or was and cost the cache the references that are named. */
  readonly damaged: readonly ScrubFinding[];
  readonly repaired: readonly ScrubFinding[];
  /** What has been put out of use because it was damaged, now and earlier; oldest first. */
  readonly quarantined: readonly QuarantineNote[];
  /** Milliseconds that each step took. */
  readonly steps: Readonly<Record<string, number>>;
}

/**
 * What ends a repair and costs the cache no reference, as does what LMDB itself finds, of a disk that fails say: neither
 * the image nor its source is what failed.
 */
const notOfTheImage: ReadonlySet<ErrorCode> = new Set([
  "INTERRUPTED",
  "CACHE_FULL",
  "CACHE_BUSY",
  "INTERNAL",
]);

const lastScrubKey = Buffer.from("lastScrub");

/**
 * Looks at all there is: re-hashes every value, decodes every record, follows every reference, and checks every
 * index both ways. Steps have names and are timed. Whoever pulls or removes meanwhile causes no false alarm: each row
 * is judged within one snapshot, and a suspect once more in another.
 */
export class Scrub {
  readonly #environment: Environment;
  readonly #options: ScrubOptions;
  readonly #suspects: Suspects;
  readonly #steps: Record<string, number> = {};
  #step = "";
  #checked = 0;
  #bytes = 0;

  constructor(environment: Environment, options: ScrubOptions) {
    this.#environment = environment;
    this.#options = options;
    this.#suspects = new Suspects(environment, options.bringBack !== undefined);
  }

  /** Throws INTERRUPTED, CACHE_CORRUPT when the database itself cannot be read, and CACHE_FULL when there is no room to repair. */
  async run(): Promise<ScrubReport> {
    const { signal, bringBack } = this.#options;
    await this.#timed("pages", () => examinePages(this.#environment, signal));
    for (const kind of contentKinds)
      await this.#timed(contentTrees[kind], () => this.#check([contentCheck(kind)]));
    await this.#timed("records", () => this.#check(recordChecks));
    await this.#timed("references", () => this.#check(closureChecks));
    if (bringBack !== undefined) await this.#timed("repair", () => this.#repair(bringBack));
    await this.#timed("indexes", () => this.#check(indexChecks));
    await this.#timed("totals", async () => {
      for (const { check, key } of totalChecks) {
        // It takes a walk through all keys: under the writer's lock only when something seems wrong.
        const seemsWrong =
          this.#environment.snapshot(() => check.faultOf(this.#environment, key)) !== undefined;
        if (seemsWrong) this.#suspects.settle(check, key);
        await turn();
      }
    });
    return this.#report();
  }

  async #timed(step: string, work: () => Promise<void>): Promise<void> {
    this.#step = step;
    const start = performance.now();
    await work();
    this.#steps[step] = Math.round((performance.now() - start) * 10) / 10;
  }

  async #check(checks: readonly RowCheck[]): Promise<void> {
    for (const check of checks) {
      const suspects: Buffer[] = [];
      const look = (key: Buffer): number => {
        const meter = { bytes: 0 };
        if (check.faultOf(this.#environment, key, meter) !== undefined) suspects.push(key);
        return meter.bytes;
      };
      const onSlice = (rows: number, bytes: number): void => this.#progress(rows, bytes);
      await walk(this.#environment, check.tree, look, { signal: this.#options.signal, onSlice });
      for (const key of suspects) {
        this.#suspects.settle(check, key);
        await turn();
      }
    }
  }

  #progress(rows: number, bytes: number): void {
    this.#checked += rows;
    this.#bytes += bytes;
    const { count } = this.#suspects;
    emit(this.#options.onEvent, {
      event: "scrubbing",
      step: this.#step,
      checked: this.#checked,
      bytes: this.#bytes,
      damaged: count,
    });
  }

  /** What has lost parts, now or when it was last read, gets them back or goes. */
  async #repair(bringBack: (record: RefRecord) => Promise<unknown>): Promise<void> {
    const incomplete: Buffer[] = [];
    const look = (key: Buffer): number => {
      if (this.#incompleteRecord(key) !== undefined) incomplete.push(key);
      return 0;
    };
    const { signal } = this.#options;
    await walk(this.#environment, "refs", look, { signal, onSlice: () => {} });
    for (const key of incomplete) {
      const record = this.#environment.snapshot(() => this.#incompleteRecord(key));
      if (record !== undefined) await this.#bringBackOrLose(key, record, bringBack);
    }
  }

  async #bringBackOrLose(
    key: Buffer,
    record: RefRecord,
    bringBack: (record: RefRecord) => Promise<unknown>,
  ): Promise<void> {
    try {
      await bringBack(record);
    } catch (thrown) {
      const error = toBpfcacheError(thrown);
      if (notOfTheImage.has(error.code) || isFoundByLmdb(error)) throw error;
      this.#lose(key, error.message);
    }
  }

  #lose(key: Buffer, reason: string): void {
    this.#environment.commit(() => {
      const left = this.#incompleteRecord(key);
      if (left === undefined) return; // Another process has brought it back.
      const { reference, platform } = left;
      removeReference(this.#environment, key);
      loseReference(this.#environment, { reference, platform, rootDigest: rootDigestOf(left) });
      this.#suspects.lose(key, reason);
    });
  }

  /** The record of a reference that is not whole. */
  #incompleteRecord(key: Buffer): RefRecord | undefined {
    const record = soundRecordAt<RefRecord>(this.#environment, "refs", key);
    return record === undefined || isWhole(this.#environment, record) ? undefined : record;
  }

  #report(): ScrubReport {
    const report = {
      checked: this.#checked,
      bytes: this.#bytes,
      ...this.#suspects.outcome(),
      quarantined: this.#environment.snapshot(() => quarantineNotes(this.#environment)),
      steps: this.#steps,
    };
    const summary = {
      at: Date.now(),
      checked: report.checked,
      damaged: report.damaged.length,
      repaired: report.repaired.length,
    };
    this.#environment.commit(() => this.#environment.tree("meta").put(lastScrubKey, encodeRecord(summary)));
    return report;
  }
}
