import type { KernelProgram } from "./kernel-program.js";

/** What is to be loaded, and where it is to be pinned. The directories' parent is there; they are not. */
export interface LoadPlan {
  /** Where the object will be, under a name that maps of global variables get theirs from. */
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
  /**
   * What the kernel says of each program, by its function's name. `prepare` is called when the tool has been started and
   * before it is told anything: both take their time, and here at once. What that throws is thrown, and nothing has been
   * loaded then. Throws TOOL_FAILED.
   */
  load(
    plan: LoadPlan,
    prepare: () => void,
    signal?: AbortSignal,
  ): Promise<ReadonlyMap<string, KernelProgram>>;
}
