import { randomBytes } from "node:crypto";
import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import type { ProcessIdentity } from "../core/process-identity.js";
import type { Environment } from "../store/environment.js";
import { hold, isHeld, isHeldBy, release } from "../store/holders.js";
import { KeyRange } from "../store/key-range.js";
import {
  bootPrefix,
  loadHolder,
  loadPrefix,
  pendingPrefix,
  prefixOfProgramRow,
  programHolder,
  programPrefix,
  readProgramPrefix,
} from "../store/program-keys.js";
import type { LoadIntent } from "./intent.js";
import type { KernelProgram } from "./kernel-program.js";
import { ProgramData } from "./program-data.js";

const intentKey = Buffer.from("intent");
/** Of how many earlier boots the programs are remembered. */
const keptBoots = 8;

/** A program of a load that is about to be made. */
export interface PendingProgram {
  readonly name: string;
  /** Fills in what is known before the load. */
  readonly describe: (data: ProgramData) => void;
}

/**
 * The trees of programs. A load is an intent with a tree for each of its programs under a random id; when the kernel
 * has taken them, one transaction turns these into trees of the kernel's ids, or removes them. Ids mean something only
 * together with the boot that they are of, so that is in the keys too.
 */
export class ProgramStore {
  readonly #environment: Environment;

  constructor(environment: Environment) {
    this.#environment = environment;
  }

  get bootId(): string {
    return this.#environment.bootId;
  }

  newLoadId(): string {
    return randomBytes(16).toString("hex");
  }

  /**
   * Before the load. The object is held from now on. Throws NOT_CACHED when it has been removed since it was read, and
   * USAGE for metadata that cannot be kept.
   */
  begin(intent: LoadIntent, programs: readonly PendingProgram[], object: Digest | undefined): void {
    this.#environment.commit(() => {
      if (object !== undefined) this.#hold(object, loadHolder(intent.loadId));
      this.#pending(intent.loadId, 0).put(intentKey, Buffer.from(JSON.stringify(intent)));
      for (const [index, { name, describe }] of programs.entries()) {
        const data = new ProgramData(this.#pending(intent.loadId, index + 1));
        data.name = name;
        data.loadId = intent.loadId;
        data.bootId = intent.bootId;
        describe(data);
      }
    });
  }

  /** What is under way, or was when its process died. What cannot be read any more is dropped. */
  intents(): LoadIntent[] {
    return this.#environment.snapshot(() =>
      this.#environment
        .tree("pending")
        .keys()
        .filter((key) => key.subarray(20).equals(intentKey))
        .map((key) => this.#readIntent(key.toString("hex", 0, 16))),
    );
  }

  /** Takes a load over whose process has died. False when another process was first. */
  takeOver(intent: LoadIntent, owner: ProcessIdentity): boolean {
    return this.#environment.commit(() => {
      const row = this.#pending(intent.loadId, 0).get(intentKey);
      if (row?.toString() !== JSON.stringify(intent)) return false;
      this.#pending(intent.loadId, 0).put(intentKey, Buffer.from(JSON.stringify({ ...intent, owner })));
      return true;
    });
  }

  /** After the load: the trees move to the ids of the kernel, in the order of the intent. */
  finish(intent: LoadIntent, kernel: ReadonlyMap<string, KernelProgram>): number[] {
    return this.#environment.commit(() => {
      const programs = intent.programs.map((name) => {
        const program = kernel.get(name);
        if (program === undefined) throw new BpfcacheError("INTERNAL", `the load has no program ${name}`);
        return program;
      });
      const ids = programs.map((program, index) => this.#finishOne(intent, index, program, programs[0]?.id));
      this.#dropPending(intent.loadId);
      return ids;
    });
  }

  /** The load has come to nothing. */
  abandon(loadId: string): void {
    this.#environment.commit(() => this.#dropPending(loadId));
  }

  /** Those of this boot, by id. */
  current(): ProgramData[] {
    return this.#all(bootPrefix(this.bootId)).map(({ id }) => this.#data(id));
  }

  /** Those of earlier boots. */
  archived(): ProgramData[] {
    const own = bootPrefix(this.bootId);
    return this.#all(Buffer.alloc(0))
      .filter(({ boot }) => !boot.equals(own))
      .map(({ boot, id }) => new ProgramData(this.#range(boot, id), id));
  }

  /** A program of this boot. */
  find(id: number): ProgramData | undefined {
    const range = this.#range(bootPrefix(this.bootId), id);
    return this.#environment.snapshot(() => (range.isEmpty ? undefined : new ProgramData(range, id)));
  }

  /** From now on its pins are going. `isLast`: of what was loaded together nothing else is left. */
  beginUnload(
    id: number,
  ): { readonly name: string; readonly directory: string; readonly isLast: boolean } | undefined {
    return this.#environment.commit(() => {
      const data = this.find(id);
      if (data === undefined) return undefined;
      data.state = "unloading";
      const { name, directory, loadId } = data;
      const others = this.current().filter((other) => other.loadId === loadId && other.state === "loaded");
      return { name, directory, isLast: others.length === 0 };
    });
  }

  /** Takes a program's tree away, and it from those that use its owner's maps. */
  remove(id: number): void {
    this.#environment.commit(() => {
      const data = this.find(id);
      if (data === undefined) return;
      this.#release(data);
      if (data.mapOwner !== undefined) this.#leaveMaps(data.mapOwner, id);
      this.#range(bootPrefix(this.bootId), id).clear();
    });
  }

  /** The kernel has it no more. What it was stays to be read until it is unloaded. */
  markGone(id: number): void {
    this.#environment.commit(() => {
      const data = this.find(id);
      if (data === undefined || data.state === "gone") return;
      data.state = "gone";
      this.#release(data);
    });
  }

  /** Holds the objects of loaded programs again that were damaged and have come back. */
  holdAgain(): void {
    this.#environment.commit(() => {
      for (const { id, location, state } of this.current()) {
        if (id === undefined || location === undefined || state === "gone") continue;
        const holder = programHolder(this.bootId, id);
        const object = location.objectDigest;
        if (
          !isHeldBy(this.#environment, "object", object, holder) &&
          isHeld(this.#environment, "object", object)
        )
          hold(this.#environment, "object", object, holder);
      }
    });
  }

  /** What earlier boots have left: programs are kept to be read, loads have come to nothing. */
  archive(): void {
    const isOld = this.#environment.snapshot(
      () =>
        this.archived().some(({ state }) => state !== "archived") ||
        this.intents().some(({ bootId }) => bootId !== this.bootId),
    );
    if (!isOld) return;
    this.#environment.commit(() => {
      for (const { loadId, bootId } of this.intents()) if (bootId !== this.bootId) this.#dropPending(loadId);
      const programs = this.archived();
      for (const data of programs) {
        if (data.state === "archived") continue;
        this.#release(data);
        data.state = "archived";
      }
      this.#forgetOldBoots(programs);
    });
  }

  #forgetOldBoots(programs: readonly ProgramData[]): void {
    const newest = new Map<string, number>();
    for (const { bootId, kernel } of programs)
      newest.set(bootId, Math.max(newest.get(bootId) ?? 0, kernel?.loadedAt ?? 0));
    const boots = [...newest].sort(([, a], [, b]) => b - a).map(([bootId]) => bootId);
    for (const bootId of boots.slice(keptBoots))
      new KeyRange(this.#environment, "programs", bootPrefix(bootId)).clear();
  }

  /** What is loaded together shares its maps: the first owns them, unless another load does. */
  #finishOne(intent: LoadIntent, index: number, kernel: KernelProgram, first = kernel.id): number {
    const { id } = kernel;
    const range = this.#range(bootPrefix(intent.bootId), id);
    range.clear(); // An id that has come round again.
    this.#pending(intent.loadId, index + 1).moveTo(range);
    const data = new ProgramData(range, id);
    data.kernel = kernel;
    data.state = "loaded";
    if (index > 0) data.mapOwner ??= first;
    const { location, mapOwner } = data;
    if (location?.kind === "image") this.#hold(location.objectDigest, programHolder(intent.bootId, id));
    if (mapOwner === undefined) data.mapsUsedBy = [id];
    else this.#joinMaps(mapOwner, id);
    return id;
  }

  #joinMaps(owner: number, id: number): void {
    const data = this.find(owner);
    if (data !== undefined) data.mapsUsedBy = [...data.mapsUsedBy.filter((other) => other !== id), id];
  }

  #leaveMaps(owner: number, id: number): void {
    const data = this.find(owner);
    if (data !== undefined) data.mapsUsedBy = data.mapsUsedBy.filter((other) => other !== id);
  }

  #hold(object: Digest, holder: Buffer): void {
    if (!isHeld(this.#environment, "object", object)) {
      throw new BpfcacheError("NOT_CACHED", `the object ${object} has been removed from the cache meanwhile`);
    }
    hold(this.#environment, "object", object, holder);
  }

  #release({ id, bootId, location }: ProgramData): void {
    if (id === undefined || location?.kind !== "image") return;
    this.#releaseHold(location.objectDigest, programHolder(bootId, id));
  }

  #dropPending(loadId: string): void {
    const first = new ProgramData(this.#pending(loadId, 1));
    const { location } = first;
    const object = location?.kind === "image" ? location.objectDigest : undefined;
    if (object !== undefined) this.#releaseHold(object, loadHolder(loadId));
    new KeyRange(this.#environment, "pending", loadPrefix(loadId)).clear();
  }

  #releaseHold(object: Digest, holder: Buffer): void {
    if (isHeldBy(this.#environment, "object", object, holder))
      release(this.#environment, "object", object, holder);
  }

  #readIntent(loadId: string): LoadIntent {
    const row = this.#pending(loadId, 0).get(intentKey);
    if (row === undefined) throw new BpfcacheError("INTERNAL", `the load ${loadId} has no intent`);
    return JSON.parse(row.toString()) as LoadIntent;
  }

  #pending(loadId: string, number: number): KeyRange {
    return new KeyRange(this.#environment, "pending", pendingPrefix(loadId, number));
  }

  #all(prefix: Buffer): { boot: Buffer; id: number }[] {
    return this.#environment.snapshot(() => {
      const tree = this.#environment.tree("programs");
      const found: { boot: Buffer; id: number }[] = [];
      let key = tree.keysAfter(prefix, undefined, 1)[0];
      while (key?.subarray(0, prefix.length).equals(prefix) === true) {
        const own = Buffer.from(prefixOfProgramRow(key));
        found.push(readProgramPrefix(own));
        key = tree.firstKeyBehind(own);
      }
      return found;
    });
  }

  #data(id: number): ProgramData {
    return new ProgramData(this.#range(bootPrefix(this.bootId), id), id);
  }

  #range(boot: Buffer, id: number): KeyRange {
    return new KeyRange(this.#environment, "programs", programPrefix(boot, id));
  }
}
