import { resolve } from "node:path";
import { BpfcacheError, toBpfcacheError } from "../core/errors.js";
import { thisProcess } from "../core/process-identity.js";
import type { BpfProgram } from "../image/elf/bpf-object.js";
import type { GlobalValues } from "../image/elf/set-globals.js";
import type { PullPolicy } from "../pull/policy.js";
import type { Bytecode, BytecodeOptions } from "../store/bytecode.js";
import type { Environment } from "../store/environment.js";
import { Bpftool } from "./bpftool.js";
import {
  describeProgram,
  describeUnmanaged,
  type ManagedProgram,
  type UnmanagedProgram,
} from "./description.js";
import type { LoadIntent } from "./intent.js";
import { chooseProgramsOf, fromFile, fromImage, type Loadable } from "./loadable.js";
import type { Loader, LoadPlan } from "./loader.js";
import { LoadDirectory, Pins, requireFree } from "./pins.js";
import type { ProgramData } from "./program-data.js";
import { type PendingProgram, ProgramStore } from "./program-store.js";
import { Reconciliation, unload, unpinOthers } from "./reconcile.js";
import { stage, stagedPath, stagingOf, unstage } from "./staging.js";
import { requireSuitable } from "./suitability.js";

/** What takes an object into the kernel. */
export type LoadVia = "bpftool" | "libbpf";

export interface LoadOptions {
  /** Functions of one object; all that load by themselves unless told. */
  readonly programs?: readonly string[] | undefined;
  /** The object, by its name or digest, when the programs do not tell it. */
  readonly object?: string | undefined;
  /** `os/arch[/variant]`; the cache's by default. */
  readonly platform?: string | undefined;
  /** Values of global variables, set in the copy that is loaded. */
  readonly globals?: GlobalValues | undefined;
  /** Kept with each program. */
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** A loaded program, by its id, whose maps of the same names are used. */
  readonly mapOwner?: number | undefined;
  /** A directory of bpffs that is not there yet, for the pins; one of bpfcache's own by default. */
  readonly pin?: string | undefined;
  /** By default bpftool, which also loads the object's other programs for a moment. */
  readonly via?: LoadVia | undefined;
  /** Never by default: what is not in the cache is not loaded. The others pull first. */
  readonly pullPolicy?: PullPolicy | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ProgramList {
  readonly programs: readonly ManagedProgram[];
  /** Programs in the kernel that were not loaded through this cache; nothing here touches them. */
  readonly unmanaged: readonly UnmanagedProgram[];
  /** Programs of earlier boots. */
  readonly archived: readonly ManagedProgram[];
}

/** What programs need of the cache that they are loaded from. */
export interface ImageAccess {
  /** Reads what is here; with a policy other than Never, pulls before. */
  read(
    reference: string,
    pullPolicy: PullPolicy,
    options: BytecodeOptions & { readonly platform?: string | undefined },
    signal: AbortSignal | undefined,
  ): Promise<Bytecode>;
  readonly toolTimeoutMs: number;
  /** Runs what must end before the cache is closed, and is interrupted by that. */
  run<T>(signal: AbortSignal | undefined, work: (signal: AbortSignal) => Promise<T>): Promise<T>;
}

/**
 * Programs in the kernel that were loaded from this cache, and the loader of reference. What is known of each outlives
 * the process; before anything else is done, what earlier processes and boots have left is put in order.
 */
export class Programs {
  readonly #store: ProgramStore;
  readonly #pins: Pins;
  readonly #bpftool: Bpftool;
  readonly #images: ImageAccess;
  #reconciled: Promise<void> | undefined;

  constructor(environment: Environment, images: ImageAccess) {
    this.#store = new ProgramStore(environment);
    this.#pins = new Pins(environment);
    this.#bpftool = new Bpftool(images.toolTimeoutMs);
    this.#images = images;
  }

  /**
   * Loads programs of an image and pins them, with their maps. Either all of them are loaded in the end or none is,
   * also when this process dies. Throws NOT_CACHED, CACHE_CORRUPT, and what `pull` does unless the policy is Never; USAGE
   * for names that are not there and where nothing can be loaded; INVALID_IMAGE, PLATFORM_MISMATCH; TOOL_FAILED with
   * the verifier's log, and when bpftool is missing.
   */
  async load(reference: string, options: LoadOptions = {}): Promise<readonly ManagedProgram[]> {
    const { programs = [], object, platform, globals, pullPolicy = "Never" } = options;
    const [program] = programs;
    const choice = { object, program, platform, globals };
    return this.#images.run(options.signal, async (signal) => {
      const bytecode = await this.#images.read(reference, pullPolicy, choice, signal);
      const loadable = fromImage(bytecode, globals, pullPolicy);
      return about(bytecode.reference, () => this.#load(loadable, { ...options, signal }));
    });
  }

  /** The same with an object file, which stays where it is. */
  async loadFile(path: string, options: LoadOptions = {}): Promise<readonly ManagedProgram[]> {
    const loadable = fromFile(resolve(path), options.globals);
    return this.#images.run(options.signal, (signal) => this.#load(loadable, { ...options, signal }));
  }

  /** Throws TOOL_FAILED. */
  list(signal?: AbortSignal): Promise<ProgramList> {
    return this.#images.run(signal, (either) => this.#list(either));
  }

  /** Throws NOT_FOUND for an id that no program of this boot has that was loaded here. */
  get(id: number, signal?: AbortSignal): Promise<ManagedProgram> {
    return this.#images.run(signal, async (either) => {
      await this.#reconcileAgain(either);
      return describeProgram(this.#require(id));
    });
  }

  /** Takes the pins away, upon which the kernel unloads what nothing else uses. Returns what it was. Throws NOT_FOUND. */
  unload(id: number, signal?: AbortSignal): Promise<ManagedProgram> {
    return this.#images.run(signal, async (either) => {
      await this.#reconcile(either);
      const program = describeProgram(this.#require(id));
      unload(this.#store, id);
      return program;
    });
  }

  async #list(signal: AbortSignal): Promise<ProgramList> {
    await this.#reconcileAgain(signal);
    const kernel = await this.#bpftool.programs(signal);
    const programs = this.#store.current();
    const own = new Set(programs.map(({ id }) => id));
    return {
      programs: programs.map(describeProgram),
      unmanaged: kernel.filter(({ id }) => !own.has(id)).map(describeUnmanaged),
      archived: this.#store.archived().map(describeProgram),
    };
  }

  async #load(loadable: Loadable, options: LoadOptions): Promise<readonly ManagedProgram[]> {
    const { via = "bpftool", pin, signal } = options;
    const chosen = chooseProgramsOf(loadable.object, options.programs ?? []);
    requireSuitable(loadable.object, via, chosen);
    if (pin !== undefined) requireFree(pin);
    await this.#reconcile(signal);
    const owner = options.mapOwner === undefined ? undefined : this.#requireLoaded(options.mapOwner);
    const loadId = this.#store.newLoadId();
    const directory = pin === undefined ? this.#pins.directoryOf(loadId) : new LoadDirectory(pin);
    const loadedToo =
      via === "bpftool" ? loadable.object.programs.filter(({ autoload }) => autoload) : chosen;
    const intent = this.#intentOf(loadable, chosen, loadedToo, loadId, directory);
    const pending = chosen.map((program) => pendingOf(program, loadable, directory, options, owner));
    const plan: LoadPlan = {
      path: stagedPath(intent.staging, loadable.name),
      programs: intent.programs,
      programDirectory: directory.programs,
      mapDirectory: directory.maps,
      reusedMaps: sharedMaps(loadable, owner),
    };
    const loader = await this.#loader(via);
    const done = { isBegun: false, isMade: false };
    const prepare = (): void => {
      this.#store.begin(intent, pending);
      done.isBegun = true;
      directory.make();
      done.isMade = true;
      stage(plan.path, loadable.bytes);
    };
    try {
      const kernel = await loader.load(plan, prepare, signal);
      unpinOthers(intent, directory);
      unstage(intent.staging); // With the intent its place is forgotten.
      return this.#store.finish(intent, kernel, describeProgram);
    } catch (error) {
      if (done.isBegun) this.#undo(intent, done.isMade ? directory : undefined, error);
      throw error;
    }
  }

  #undo(intent: LoadIntent, directory: LoadDirectory | undefined, cause: unknown): void {
    try {
      directory?.remove();
      unstage(intent.staging);
      this.#store.abandon(intent);
    } catch (error) {
      const { message } = toBpfcacheError(error);
      throw new BpfcacheError("TOOL_FAILED", `a load that failed could not be undone: ${message}`, { cause });
    }
  }

  #intentOf(
    { object, location }: Loadable,
    chosen: readonly BpfProgram[],
    pinned: readonly BpfProgram[],
    loadId: string,
    directory: LoadDirectory,
  ): LoadIntent {
    return {
      loadId,
      bootId: this.#store.bootId,
      owner: thisProcess(),
      object: location.kind === "image" ? location.objectDigest : undefined,
      directory: directory.path,
      staging: stagingOf(loadId),
      programs: chosen.map(({ name }) => name),
      pinned: {
        programs: pinned.map(({ name }) => name),
        maps: object.maps.map(({ name }) => name),
      },
    };
  }

  #require(id: number): ProgramData {
    const data = this.#store.find(id);
    if (data !== undefined) return data;
    throw new BpfcacheError("NOT_FOUND", `no program with the id ${id} was loaded through this cache`, {
      hint: "bpfcache program list shows those that were.",
    });
  }

  #requireLoaded(id: number): ProgramData {
    const data = this.#require(id);
    if (data.state === "loaded") return data;
    throw new BpfcacheError("USAGE", `the program ${id} is ${data.state}, so it has no maps to share`);
  }

  async #loader(via: LoadVia): Promise<Loader> {
    if (via === "bpftool") return this.#bpftool;
    const { Libbpf } = await import("./libbpf/libbpf.js");
    return new Libbpf(this.#bpftool, this.#images.toolTimeoutMs);
  }

  #reconcileAgain(signal: AbortSignal | undefined): Promise<void> {
    this.#reconciled = undefined;
    return this.#reconcile(signal);
  }

  /** Once; when it failed, the next call tries again. */
  #reconcile(signal: AbortSignal | undefined): Promise<void> {
    this.#reconciled ??= new Reconciliation(this.#store, this.#pins, this.#bpftool)
      .run(signal)
      .catch((error: unknown) => {
        this.#reconciled = undefined;
        throw error;
      });
    return this.#reconciled;
  }
}

function pendingOf(
  { name, attach }: BpfProgram,
  { location, globals }: Loadable,
  directory: LoadDirectory,
  { metadata = {} }: LoadOptions,
  owner: ProgramData | undefined,
): PendingProgram {
  const describe = (data: ProgramData): void => {
    data.location = location;
    data.metadata = new Map(Object.entries(metadata));
    data.globalData = globals;
    data.mapOwner = owner === undefined ? undefined : (owner.mapOwner ?? owner.id);
    data.directory = directory.path;
    data.pin = directory.programPin(name);
    data.mapPinPath = directory.maps;
    data.attachPoints = attach === undefined ? [] : [attach];
  };
  return { name, describe };
}

/** Those of the owner's that the object declares too; what libbpf makes of global variables is each program's own. */
function sharedMaps({ object }: Loadable, owner: ProgramData | undefined): ReadonlyMap<string, string> {
  if (owner === undefined) return new Map();
  const directory = new LoadDirectory(owner.directory);
  const shared = object.maps.filter(({ name }) => directory.hasMap(name));
  if (shared.length > 0) return new Map(shared.map(({ name }) => [name, directory.mapPin(name)]));
  throw new BpfcacheError("USAGE", `the program ${owner.id} has none of the object's maps to share`, {
    hint: `The object has: ${object.maps.map(({ name }) => name).join(", ") || "none"}.`,
  });
}

async function about<T>(reference: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof BpfcacheError ? error.about(reference) : error;
  }
}
