import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** A control group of Linux that has no more than some memory: its own, and the page cache of what it reads and writes. */
export class MemoryLimit implements Disposable {
  private constructor(readonly directory: string) {}

  /** Undefined where none can be made: without root, or in a container that may not. */
  static make(bytes: number): MemoryLimit | undefined {
    for (const { parent, file } of places()) {
      const directory = join(parent, `bpfcache-test-${process.pid}`);
      try {
        mkdirSync(directory);
      } catch {
        continue;
      }
      try {
        writeFileSync(join(directory, file), String(bytes));
        return new MemoryLimit(directory);
      } catch {
        rmdirSync(directory);
      }
    }
    return undefined;
  }

  /** The words that run a command inside it. */
  around(command: readonly string[]): readonly string[] {
    return ["sh", "-c", `echo $$ > ${join(this.directory, "cgroup.procs")} && exec "$@"`, "sh", ...command];
  }

  [Symbol.dispose](): void {
    rmdirSync(this.directory);
  }
}

/** Below the group that this process is in, by either version of control groups. */
function places(): { readonly parent: string; readonly file: string }[] {
  if (!existsSync("/proc/self/cgroup")) return [];
  return readFileSync("/proc/self/cgroup", "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, controllers, path = ""] = line.split(":");
      if (controllers === "") return [{ parent: join("/sys/fs/cgroup", path), file: "memory.max" }];
      if (controllers !== "memory") return [];
      return [{ parent: join("/sys/fs/cgroup/memory", path), file: "memory.limit_in_bytes" }];
    });
}
