import { randomBytes } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import type { Digest } from "../core/digest.js";
import { BpfcacheError } from "../core/errors.js";
import type { ProcessIdentity } from "../core/process-identity.js";
import { DamagedRow } from "../store/damaged-row.js";
import type { Environment } from "../store/environment.js";
import { hold, isHeld, isHeldBy, release } from "../store/holders.js";
import { KeyRange } from "../store/key-range.js";
import {
  bootPrefix,
  loadHolder,
  loadOfRow,
  loadPrefix,
  pendingPrefix,
  prefixOfProgramRow,
  programHolder,
  programPrefix,
  readProgramPrefix,
} from "../store/program-keys.js";
import type { LoadIntent } from "./intent.js";
import type { KernelLink } from "./kernel-link.js";
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
  begin(intent: LoadIntent, programs: readonly PendingProgram[]): void {
    this.#environment.commit(() => {
      if (intent.object !== undefined) this.#hold(intent.object, loadHolder(intent.loadId));
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

  /** What is under way, or was when its process died; not what is damaged. */
  intents(): LoadIntent[] {
    return this.#environment.snapshot(() =>
      this.#pendingLoads().flatMap((loadId) => this.#readIntent(loadId) ?? []),
    );
  }

  /** Takes a load over whose process has died. False when another process was first. */
  takeOver(intent: LoadIntent, owner: ProcessIdentity): boolean {
    return this.#environment.commit(() => {
      if (JSON.stringify(this.#readIntent(intent.loadId)) !== JSON.stringify(intent)) return false;
      this.#pending(intent.loadId, 0).put(intentKey, Buffer.from(JSON.stringify({ ...intent, owner })));
      return true;
    });
  }

  /**
   * After the load: the trees move to the ids of the kernel, in the order of the intent. What `describe` makes of each
   * is returned; within the transaction a read costs least.
   */
  finish<T>(
    intent: LoadIntent,
    kernel: ReadonlyMap<string, KernelProgram>,
    describe: (data: ProgramData) => T,
  ): T[] {
    return this.#environment.commit(() => {
      if (this.#readIntent(intent.loadId) === undefined)
        throw new BpfcacheError("CACHE_BUSY", "another process has undone this load", {
          hint: "It took the process for dead; load again.",
        });
      const programs = intent.programs.map((name) => {
        const program = kernel.get(name);
        if (program === undefined) throw new BpfcacheError("INTERNAL", `the load has no program ${name}`);
        return program;
      });
      const loaded = programs.map((program, index) =>
        this.#finishOne(intent, index, program, programs[0]?.id),
      );
      this.#dropPending(intent);
      return loaded.map(describe);
    });
  }

  /** The load has come to nothing. */
  abandon(intent: LoadIntent): void {
    this.#environment.commit(() => this.#dropPending(intent));
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
      data.links = [];
      this.#release(data);
    });
  }

  /** What attaches a program now. */
  noteLinks(id: number, links: readonly KernelLink[]): void {
    const isNoted = (data: ProgramData | undefined): boolean =>
      data === undefined || isDeepStrictEqual(data.links, links);
    if (isNoted(this.find(id))) return;
    this.#environment.commit(() => {
      const data = this.find(id);
      if (data !== undefined) data.links = links;
    });
  }

  /** Holds the objects of loaded programs again that were damaged and have come back. */
  holdAgain(): void {
    const released = (): { object: Digest; holder: Buffer }[] =>
      this.current().flatMap(({ id, location, state }) => {
        if (id === undefined || location?.kind !== "image" || state === "gone") return [];
        const [object, holder] = [location.objectDigest, programHolder(this.bootId, id)];
        const isReleased =
          isHeld(this.#environment, "object", object) &&
          !isHeldBy(this.#environment, "object", object, holder);
        return isReleased ? [{ object, holder }] : [];
      });
    if (this.#environment.snapshot(released).length === 0) return;
    this.#environment.commit(() => {
      for (const { object, holder } of released()) hold(this.#environment, "object", object, holder);
    });
  }

  /** What earlier boots have left: programs are kept to be read, loads have come to nothing. */
  archive(): void {
    const isOld = this.#environment.snapshot(
      () =>
        this.archived().some(({ state }) => state !== "archived") ||
        this.#pendingLoads().some((loadId) => this.#readIntent(loadId)?.bootId !== this.bootId),
    );
    if (!isOld) return;
    this.#environment.commit(() => {
      for (const loadId of this.#pendingLoads())
        if (this.#readIntent(loadId) === undefined) this.#forget(loadId);
      for (const intent of this.intents()) if (intent.bootId !== this.bootId) this.#dropPending(intent);
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
  #finishOne(intent: LoadIntent, index: number, kernel: KernelProgram, first = kernel.id): ProgramData {
    const { id } = kernel;
    const range = this.#range(bootPrefix(intent.bootId), id);
    range.clear(); // An id that has come round again.
    this.#pending(intent.loadId, index + 1).moveTo(range);
    const data = new ProgramData(range, id);
    data.kernel = kernel;
    data.state = "loaded";
    if (index > 0) data.mapOwner ??= first;
    if (intent.object !== undefined) this.#hold(intent.object, programHolder(intent.bootId, id));
    const { mapOwner } = data;
    if (mapOwner === undefined) data.mapsUsedBy = [id];
    else this.#joinMaps(mapOwner, id);
    return data;
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

  #dropPending({ loadId, object }: LoadIntent): void {
    if (object !== undefined) this.#releaseHold(object, loadHolder(loadId));
    this.#forget(loadId);
  }

  #forget(loadId: string): void {
    new KeyRange(this.#environment, "pending", loadPrefix(loadId)).clear();
  }

  #releaseHold(object: Digest, holder: Buffer): void {
    if (isHeldBy(this.#environment, "object", object, holder))
      release(this.#environment, "object", object, holder);
  }

  /** Every load that has a row in the tree. */
  #pendingLoads(): string[] {
    const keys = this.#environment.tree("pending").keys();
    return [...new Set(keys.map(loadOfRow))];
  }

  /** Undefined also when it is damaged: the load has come to nothing then. */
  #readIntent(loadId: string): LoadIntent | undefined {
    try {
      const row = this.#pending(loadId, 0).get(intentKey);
      return row && (JSON.parse(row.toString()) as LoadIntent);
    } catch (error) {
      if (error instanceof DamagedRow) return undefined;
      throw error;
    }
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
