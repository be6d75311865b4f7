import type { KernelProgram } from "./kernel-program.js";

/** What is to be loaded, and where it is to be pinned. The directories' parent is there; they are not. */
export interface LoadPlan {
  /** The object, under a name that maps of global variables get theirs from. */
  readonly path: string;
  /** Those to load. A loader may load, and pin, the others of the object too. */
  readonly programs: readonly string[];
  readonly programDirectory: string;
  readonly mapDirectory: string;
  /** Pins of maps to use instead of new ones, by the maps' names. */
  readonly reusedMaps: ReadonlyMap<string, string>;
}

/** Brings objects into the kernel. */
export interface Loader {
  /** What the kernel says of each program, by its function's name. Throws TOOL_FAILED. */
  load(plan: LoadPlan, signal?: AbortSignal): Promise<ReadonlyMap<string, KernelProgram>>;
}
