import { BpfcacheError } from "../core/errors.js";
import { livenessOf, thisProcess } from "../core/process-identity.js";
import type { Bpftool } from "./bpftool.js";
import type { LoadIntent } from "./intent.js";
import { isSameProgram, type KernelProgram } from "./kernel-program.js";
import { LoadDirectory, type Pins } from "./pins.js";
import type { ProgramData } from "./program-data.js";
import type { ProgramStore } from "./program-store.js";
import { stagingOf, unstage } from "./staging.js";

/**
 * Brings the database, the pins and the kernel together again after processes have died, or the machine. What a living
 * process is at is left alone, and so is every program that was not loaded through this cache. Any number of
 * processes may do it at once.
 */
export class Reconciliation {
  readonly #store: ProgramStore;
  readonly #pins: Pins;
  readonly #bpftool: Bpftool;

  constructor(store: ProgramStore, pins: Pins, bpftool: Bpftool) {
    this.#store = store;
    this.#pins = pins;
    this.#bpftool = bpftool;
  }

  /** Throws TOOL_FAILED when there is something to ask bpftool and it fails. */
  async run(signal?: AbortSignal): Promise<void> {
    this.#store.archive();
    // In this order: a directory has had an intent before it was there, and a row a program in the kernel.
    const directories = this.#pins.loadIds();
    const intents = this.#store.intents();
    const programs = this.#store.current();
    for (const intent of intents) if (this.#isAbandoned(intent)) await this.#settle(intent, signal);
    const known = new Set([...intents, ...programs].map(({ loadId }) => loadId));
    for (const loadId of directories) if (!known.has(loadId)) this.#removeLeftover(loadId);
    if (programs.length > 0) await this.#checkPrograms(programs, signal);
    this.#store.holdAgain();
  }

  #isAbandoned({ owner }: LoadIntent): boolean {
    return livenessOf(owner) === "dead";
  }

  /** Finishes a load that has done all it was to do, and undoes one that has not. */
  async #settle(intent: LoadIntent, signal: AbortSignal | undefined): Promise<void> {
    if (!this.#store.takeOver(intent, thisProcess())) return;
    const directory = new LoadDirectory(intent.directory);
    const isFinished = isComplete(intent, directory) && (await this.#finish(intent, directory, signal));
    if (!isFinished) {
      directory.remove();
      this.#store.abandon(intent);
    }
    unstage(intent.staging);
  }

  /** False when the kernel does not say what it has: then there is nothing to be known of it. */
  async #finish(
    intent: LoadIntent,
    directory: LoadDirectory,
    signal: AbortSignal | undefined,
  ): Promise<boolean> {
    try {
      const pins = intent.programs.map((name) => directory.programPin(name));
      const kernel = await this.#bpftool.pinned(pins, signal);
      unpinOthers(intent, directory);
      this.#store.finish(
        intent,
        new Map(intent.programs.flatMap((name, i) => (kernel[i] === undefined ? [] : [[name, kernel[i]]]))),
        () => {},
      );
      return true;
    } catch (error) {
      if (error instanceof BpfcacheError && error.code === "TOOL_FAILED") return false;
      throw error;
    }
  }

  #removeLeftover(loadId: string): void {
    this.#pins.directoryOf(loadId).remove();
    unstage(stagingOf(loadId));
  }

  async #checkPrograms(programs: readonly ProgramData[], signal: AbortSignal | undefined): Promise<void> {
    const kernel = await this.#bpftool.programsAndLinks(signal);
    const inKernel = new Map(kernel.programs.map((program) => [program.id, program]));
    for (const data of programs) {
      if (data.id === undefined) continue;
      if (data.state === "unloading") unload(this.#store, data.id);
      else if (!isThere(data, inKernel)) this.#store.markGone(data.id);
      else this.#store.noteLinks(data.id, kernel.links.get(data.id) ?? []);
    }
  }
}

/** What a loader has loaded that was not asked for goes, before the intent that tells of it. */
export function unpinOthers({ programs, pinned }: LoadIntent, directory: LoadDirectory): void {
  for (const name of pinned.programs) if (!programs.includes(name)) directory.unpinProgram(name);
}

/** Takes a program's pin away, with the last one of a load its maps too, and forgets it. It may be done again. */
export function unload(store: ProgramStore, id: number): void {
  const unloading = store.beginUnload(id);
  if (unloading === undefined) return;
  const { name, directory, isLast } = unloading;
  if (isLast) new LoadDirectory(directory).remove();
  else new LoadDirectory(directory).unpinProgram(name);
  store.remove(id);
}

function isThere(data: ProgramData, inKernel: ReadonlyMap<number, KernelProgram>): boolean {
  const recorded = data.kernel;
  const found = data.id === undefined ? undefined : inKernel.get(data.id);
  return recorded !== undefined && found !== undefined && isSameProgram(recorded, found);
}

function isComplete({ pinned }: LoadIntent, directory: LoadDirectory): boolean {
  return (
    pinned.programs.every((name) => directory.hasProgram(name)) &&
    pinned.maps.every((name) => directory.hasMap(name))
  );
}
