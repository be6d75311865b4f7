import { closeSync, mkdirSync, openSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { BpfcacheError } from "../../src/core/errors.js";
import { randomNumbers } from "../image/elf/mutants.js";
import { type Target, targets } from "./targets.js";
import { Watchdog } from "./watchdog.js";

/** The longest a mutant may take, by the clock or in processor time: on a busy machine the two are far apart. */
const maxMs = 100;

/** What one mutant may leave in memory before anything is collected: what it inflates to, some copies of that, strings. */
const maxGrowthBytes = 48 * 1024 * 1024;

const notesDirectory = join(tmpdir(), "bpfcache-fuzz");

/** Has the number of the mutant that is read now, or was last. */
const underWayFile = join(notesDirectory, `under-way.${process.pid}`);

const silenceMs = 30_000;

export interface Finding {
  /** `BPFCACHE_FUZZ_FROM` with this number and a count of 1 makes the same input again. */
  readonly mutant: number;
  readonly target: string;
  readonly what: string;
  /** Where the input was written. */
  readonly file: string;
}

export interface Tally {
  readonly read: number;
  readonly refused: number;
}

export interface CampaignReport {
  readonly findings: readonly Finding[];
  readonly targets: Readonly<Record<string, Tally>>;
  /** The slowest mutant, as it was measured first. */
  readonly slowestMs: number;
  readonly slowestMutant: number;
  readonly largestGrowthBytes: number;
  /** What all of them together have left behind after garbage collection. */
  readonly retainedBytes: number;
  /** The most memory the process has had at once: garbage may lie in it for long where there is room. */
  readonly peakBytes: number;
}

/** One number for each of a hundred, by the targets' shares. */
const turns: readonly Target[] = targets.flatMap((target) => new Array<Target>(target.share).fill(target));

/** Mutants `from` to `from + count`, each made from its number alone. */
export async function runCampaign(
  from: number,
  count: number,
  onProgress?: (next: number, report: CampaignReport) => void,
): Promise<CampaignReport> {
  const campaign = new Campaign();
  mkdirSync(notesDirectory, { recursive: true });
  const underWay = openSync(underWayFile, "w");
  const watchdog = new Watchdog(silenceMs);
  try {
    for (let mutant = from; mutant < from + count; mutant++) {
      watchdog.beat(mutant);
      // Where the process ends without a word, as when memory runs out, this is all that is left of it.
      writeSync(underWay, String(mutant).padEnd(16), 0);
      await campaign.run(mutant);
      if ((mutant + 1) % 10_000 === 0) onProgress?.(mutant + 1, campaign.report());
    }
  } finally {
    await watchdog.stop();
    closeSync(underWay);
    rmSync(underWayFile);
  }
  return campaign.report();
}

class Campaign {
  readonly #findings: Finding[] = [];
  readonly #tallies = new Map<string, { read: number; refused: number }>();
  #slowestMs = 0;
  #slowestMutant = 0;
  #largestGrowthBytes = 0;
  readonly #heldAtStart = heldAfterCollection();

  async run(mutant: number): Promise<void> {
    const random = randomNumbers(mutant);
    const target = turns[random(turns.length)];
    if (target === undefined) throw new Error("there are no targets");
    const input = target.make(random);
    const before = heldBytes();
    const started = performance.now();
    const failure = await failureOf(target, input);
    const ms = performance.now() - started;
    const growth = heldBytes() - before;

    if (ms > this.#slowestMs) {
      this.#slowestMs = ms;
      this.#slowestMutant = mutant;
    }
    this.#largestGrowthBytes = Math.max(this.#largestGrowthBytes, growth);
    const tally = this.#tallies.get(target.name) ?? { read: 0, refused: 0 };
    this.#tallies.set(target.name, tally);
    tally[failure === undefined ? "read" : "refused"]++;

    if (failure !== undefined && !isRefusal(target, failure))
      this.#note(mutant, target, input, String(failure));
    if (growth > maxGrowthBytes) this.#note(mutant, target, input, `memory grew by ${growth} bytes`);
    if (ms > maxMs) {
      const quickest = await quickestMs(() => failureOf(target, input));
      if (quickest > maxMs) this.#note(mutant, target, input, `it took ${Math.round(quickest)} ms`);
    }
  }

  report(): CampaignReport {
    return {
      findings: this.#findings,
      targets: Object.fromEntries(this.#tallies),
      slowestMs: this.#slowestMs,
      slowestMutant: this.#slowestMutant,
      largestGrowthBytes: this.#largestGrowthBytes,
      retainedBytes: heldAfterCollection() - this.#heldAtStart,
      peakBytes: process.resourceUsage().maxRSS * 1_024,
    };
  }

  #note(mutant: number, target: Target, input: Buffer, what: string): void {
    const file = join(notesDirectory, `${mutant}.${target.name}`);
    writeFileSync(file, input);
    this.#findings.push({ mutant, target: target.name, what, file });
  }
}

/** Of three more runs. */
async function quickestMs(action: () => Promise<unknown>): Promise<number> {
  let quickest = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 3; run++) {
    const started = performance.now();
    const usage = process.cpuUsage();
    await action();
    const { user, system } = process.cpuUsage(usage);
    quickest = Math.min(quickest, performance.now() - started, (user + system) / 1_000);
  }
  return quickest;
}

async function failureOf(target: Target, input: Buffer): Promise<unknown> {
  try {
    const result = target.read(input);
    // Waiting costs a turn of the event loop, and most targets answer at once.
    if (result instanceof Promise) await result;
    return undefined;
  } catch (error) {
    return error ?? new Error("nothing was thrown");
  }
}

function isRefusal({ codes = [] }: Target, failure: unknown): boolean {
  return failure instanceof BpfcacheError && ["INVALID_IMAGE", ...codes].includes(failure.code);
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

function heldAfterCollection(): number {
  collectGarbage();
  return heldBytes();
}

function heldBytes(): number {
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external; // external counts array buffers too
}
