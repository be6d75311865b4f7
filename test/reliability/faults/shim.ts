import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { fileURLToPath } from "node:url";
import { TemporaryDirectory } from "../processes.js";

/** What befalls a call that changes a file: the process dies, half of a write is written, or the call fails. */
export type Fault =
  | "kill"
  | "short"
  | { readonly errno: "ENOSPC" | "EIO" | "EPERM"; readonly forGood: boolean };

export function describeFault(fault: Fault): string {
  return typeof fault === "string" ? fault : `${fault.errno} ${fault.forGood ? "from then on" : "once"}`;
}

/**
 * A defect of lmdb-js 3.5.6 may end the process or stop it: when a page cannot be written, what is said about it is longer
 * than the 100 bytes that mdb_page_flush has for it, and the memory behind them is no longer what it was. What is on the
 * disk is judged all the same; and that it was this, and nothing of ours, is seen by trying again with room for it.
 */
export const messageBytes = 256;

/** Whether a process that has put this on standard error may have ended for that. */
export function isAfterMessage(stderr: string): boolean {
  return stderr.includes("Write error: ");
}

/** shim.c, built for as long as this lives. */
export class Shim {
  readonly #directory = new TemporaryDirectory();
  readonly #library = this.#directory.join("shim.so");
  #strikes = 0;

  constructor() {
    const source = fileURLToPath(new URL("shim.c", import.meta.url));
    execFileSync("cc", ["-Wall", "-Wextra", "-O1", "-shared", "-fPIC", "-o", this.#library, source, "-ldl"]);
  }

  /**
   * Counts the calls that change something in `directory`, and lets the fault befall call number `at`, if any. Whatever
   * asks malloc for memory gets at least `leastBytes`.
   */
  strike(directory: string, at = 0, fault: Fault = "kill", leastBytes = 0): Strike {
    const state = this.#directory.join(`state-${this.#strikes++}`);
    return new Strike(state, {
      LD_PRELOAD: this.#library,
      SHIM_DIRECTORY: directory,
      SHIM_STATE: state,
      SHIM_AT: String(at),
      SHIM_ACTION: typeof fault === "string" ? fault : String(constants.errno[fault.errno]),
      SHIM_STICKY: typeof fault !== "string" && fault.forGood ? "1" : "0",
      SHIM_LEAST: String(leastBytes),
    });
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }
}

const stateBytes = 64; // struct state

export class Strike {
  constructor(
    readonly path: string,
    /** For the process that is to be struck. */
    readonly environment: Readonly<Record<string, string>>,
  ) {
    const file = openSync(path, "w");
    ftruncateSync(file, stateBytes);
    closeSync(file);
  }

  /** How many calls there were, in the process and those it started. */
  get calls(): number {
    return Number(readFileSync(this.path).readBigUInt64LE(0));
  }

  /** Milliseconds since 1970, the process, and the name of the function; undefined when there were too few calls. */
  get struck(): { readonly at: number; readonly pid: number; readonly name: string } | undefined {
    const state = readFileSync(this.path);
    const at = Number(state.readBigUInt64LE(8));
    const pid = Number(state.readBigUInt64LE(16));
    return at === 0 ? undefined : { at, pid, name: state.subarray(24).toString().replace(/\0.*$/s, "") };
  }
}
