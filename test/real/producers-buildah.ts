import { cpSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { TemporaryDirectory } from "../reliability/processes.js";
import { execute } from "./images.js";

/** What bpfman's documentation has people build images with: Containerfile.bytecode. */
const containerfile = `
FROM scratch
ARG PROGRAMS
ARG MAPS
ARG BYTECODE_FILE
LABEL "io.ebpf.programs"=$PROGRAMS
LABEL "io.ebpf.maps"=$MAPS
COPY $BYTECODE_FILE /
`;

export interface BytecodeBuild {
  readonly format: "oci" | "docker";
  readonly programs: Readonly<Record<string, string>>;
  readonly maps: Readonly<Record<string, string>>;
  /** The path of each platform's object. */
  readonly objects: Readonly<Record<string, string>>;
}

/** buildah with storage of its own. It needs no network, and no container is run. */
export class Buildah implements Disposable {
  readonly #directory = new TemporaryDirectory();

  /** Builds an image for each platform, and a list of them under a name. */
  async build(name: string, { format, programs, maps, objects }: BytecodeBuild): Promise<void> {
    const context = this.#directory.join("context");
    for (const [platform, object] of Object.entries(objects)) {
      const file = basename(object);
      cpSync(object, join(context, file));
      writeFileSync(join(context, "Containerfile.bytecode"), containerfile);
      const values = {
        PROGRAMS: JSON.stringify(programs),
        MAPS: JSON.stringify(maps),
        BYTECODE_FILE: file,
      };
      await this.#run("build", [
        ...["--isolation=chroot", `--format=${format}`, `--platform=${platform}`, `--manifest=${name}`],
        ...Object.entries(values).map(([variable, value]) => `--build-arg=${variable}=${value}`),
        `--file=${join(context, "Containerfile.bytecode")}`,
        context,
      ]);
    }
  }

  /** Pushes a list with its images, and returns the digest that buildah reports. */
  async push(name: string, reference: string, ...options: readonly string[]): Promise<string> {
    const digestFile = this.#directory.join("digest");
    const tls = "--tls-verify=false";
    const words = ["push", "--all", tls, `--digestfile=${digestFile}`, ...options];
    await this.#run("manifest", [...words, name, `docker://${reference}`]);
    return readFileSync(digestFile, "utf8");
  }

  async #run(command: string, args: readonly string[]): Promise<void> {
    const [root, runroot] = [this.#directory.join("root"), this.#directory.join("run")];
    const storage = ["--storage-driver=vfs", `--root=${root}`, `--runroot=${runroot}`];
    await execute("buildah", [...storage, command, ...args]);
  }

  [Symbol.dispose](): void {
    this.#directory[Symbol.dispose]();
  }
}
