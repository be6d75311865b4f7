import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { closeSync, existsSync, ftruncateSync, mkdirSync, openSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { because, requireTools } from "../../support/tools.js";
import { TemporaryDirectory } from "../processes.js";

export type FileSystem = "ext4" | "tmpfs";

/** Why tests with disks of their own must be skipped, or undefined. */
export function requireDisks(): string | undefined {
  return (
    because(process.platform !== "linux" || process.getuid?.() !== 0, "needs root on Linux") ??
    requireTools("mkfs.ext4", "unshare", "nsenter", "cc") ??
    because(!canMount("ext4"), "needs loop devices and a kernel with ext4") ??
    because(!canMount("tmpfs"), "needs mount namespaces")
  );
}

function canMount(type: FileSystem): boolean {
  try {
    new Disk(type, 4)[Symbol.dispose]();
    return true;
  } catch {
    return false;
  }
}

/**
 * A file system of its own, in a mount namespace of its own, so that nothing is left of it when this process ends in
 * whatever way: the namespace lives as long as its only process, a `cat` that reads a pipe from here, and the mount and
 * its loop device as long as the namespace.
 */
export class Disk {
  readonly #directory = new TemporaryDirectory();
  readonly #image = this.#directory.join("image");
  readonly #mountPoint = this.#directory.join("disk");
  readonly #type: FileSystem;
  readonly #megabytes: number;
  readonly #holder: ChildProcess;

  constructor(type: FileSystem, megabytes: number) {
    this.#type = type;
    this.#megabytes = megabytes;
    mkdirSync(this.#mountPoint);
    if (type === "ext4") {
      const file = openSync(this.#image, "w");
      ftruncateSync(file, megabytes * 1024 ** 2);
      closeSync(file);
      // No blocks are set aside for root: full is full.
      execFileSync("mkfs.ext4", ["-q", "-m", "0", this.#image]);
    }
    this.#holder = spawn("unshare", ["--mount", "--propagation", "private", "cat"], {
      stdio: ["pipe", "ignore", "inherit"],
    });
    try {
      this.#awaitNamespace();
      this.mount();
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  /** The file system's root, for processes outside the namespace too. */
  get path(): string {
    return `/proc/${this.#holder.pid}/root${this.#mountPoint}`;
  }

  mount(): void {
    if (this.#type === "ext4") this.#inside("mount", "-o", "loop", this.#image, this.#mountPoint);
    else this.#inside("mount", "-t", "tmpfs", "-o", `size=${this.#megabytes}m`, "tmpfs", this.#mountPoint);
  }

  /** Children of a process that was killed, which copy or probe a cache, may still have it open for a moment. */
  unmount(): void {
    for (let attempt = 1; ; attempt++) {
      try {
        this.#inside("umount", this.#mountPoint);
        return;
      } catch (error) {
        if (attempt === 200) throw error;
        pause(100);
      }
    }
  }

  /** What has not reached the device is lost; whoever writes gets EIO from then on. ext4 only. */
  cutPower(): void {
    const program = this.#directory.join("shutdown");
    if (!existsSync(program)) {
      const source = fileURLToPath(new URL("shutdown.c", import.meta.url));
      execFileSync("cc", ["-Wall", "-Wextra", "-o", program, source]);
    }
    execFileSync(program, [this.path]);
  }

  [Symbol.dispose](): void {
    this.#holder.kill("SIGKILL");
    this.#directory[Symbol.dispose]();
  }

  #inside(...command: readonly string[]): void {
    execFileSync("nsenter", [`--mount=/proc/${this.#holder.pid}/ns/mnt`, ...command], { stdio: "pipe" });
  }

  /** unshare has become cat when it is in a namespace of its own. */
  #awaitNamespace(): void {
    const { pid } = this.#holder;
    if (pid === undefined) throw new Error("unshare could not be started");
    for (let i = 0; i < 500; i++) {
      const comm = execFileSync("cat", [`/proc/${pid}/comm`], { encoding: "utf8" }).trim();
      if (comm === "cat") return;
      pause(10);
    }
    throw new Error("there is no namespace to mount in");
  }
}

function pause(milliseconds: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, milliseconds);
}
