import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { openCache } from "../../src/index.js";
import { DockerRegistry } from "../real/docker-registry.js";
import { type Ended, mainProgram, run, TemporaryDirectory } from "../reliability/processes.js";
import type { Block } from "./markdown.js";

const root = fileURLToPath(new URL("../..", import.meta.url));
const layout = join(root, "examples", "layout");

interface Index {
  readonly manifests: readonly {
    readonly digest: string;
    readonly annotations: { readonly "org.opencontainers.image.ref.name": string };
  }[];
}

/** The registry that the pages mean by quay.io, which is `localhost:5000` where they need one to write to. */
export async function startDocumentedRegistry(): Promise<DockerRegistry> {
  const registry = await DockerRegistry.start();
  const index: Index = JSON.parse(readFileSync(join(layout, "index.json"), "utf8"));
  for (const { digest, annotations } of index.manifests) {
    const name = annotations["org.opencontainers.image.ref.name"].replace(/.*\//, "org/");
    const words = [`${layout}@${digest}`, registry.reference(name)];
    const { status, stderr } = await run("oras", ["cp", "--from-oci-layout", "--to-plain-http", ...words]);
    if (status !== 0) throw new Error(stderr);
  }
  return registry;
}

/** Somebody who follows one page from its top: a home, a working directory, and a cache that is empty at first. */
export class ReaderOfPage implements AsyncDisposable {
  readonly #home = new TemporaryDirectory();
  readonly #registry: DockerRegistry;

  /** `program` is what `bpfcache` runs. */
  constructor(registry: DockerRegistry, program: string = mainProgram) {
    this.#registry = registry;
    this.#write(".config/bpfcache/config.toml", `hosts-dir = ${JSON.stringify(this.#home.join("hosts"))}\n`);
    // Whatever registry a page names, this one stands in for it.
    this.#write("hosts/_default/hosts.toml", `server = "http://${registry.host}"\n`);
    this.#write("bin/bpfcache", `#!/bin/sh\nexec ${process.execPath} ${program} "$@"\n`, 0o755);
    mkdirSync(this.#path("work", "node_modules"), { recursive: true });
    // The checkout, as `npm install` would put the package there.
    symlinkSync(root, this.#path("work", "node_modules", "bpfcache"));
    symlinkSync(join(root, "examples"), this.#path("work", "examples"));
    this.#write("work/package.json", '{ "type": "module" }\n');
  }

  /** Does what a block says: a command is run, a program too; a file is written where its first line says. */
  async follow({ language, text }: Block): Promise<Ended | undefined> {
    const block = text.replaceAll("localhost:5000", this.#registry.host);
    if (language === "sh") return this.#run("bash", ["-euo", "pipefail", "-c", block]);
    const name = /^(?:#|\/\/) (\S+\.\w+)\n/.exec(block)?.[1];
    if (name !== undefined) this.#write(join("work", name), block);
    if (language !== "js") {
      if (name === undefined)
        throw new Error("it is neither run nor named, so nobody would notice if it was wrong");
      return undefined;
    }
    if (name === undefined) this.#write("work/example.js", block);
    return this.#run(process.execPath, [name ?? "example.js"]);
  }

  /** Takes out of the kernel what the page has loaded. */
  async [Symbol.asyncDispose](): Promise<void> {
    {
      await using cache = await openCache({ directory: this.#path("cache"), offline: true });
      for (const { id } of (await cache.programs.list()).programs) await cache.programs.unload(id);
    }
    this.#home[Symbol.dispose]();
  }

  #run(command: string, args: readonly string[]): Promise<Ended> {
    const PATH = `${this.#path("bin")}:${process.env["PATH"]}`;
    const HOME = this.#home.path;
    return run(command, args, {
      cwd: this.#path("work"),
      env: { PATH, HOME, BPFCACHE_DIR: this.#path("cache"), COSIGN_PASSWORD: "", TERM: "dumb" },
    });
  }

  #path(...names: readonly string[]): string {
    return this.#home.join(join(...names));
  }

  #write(name: string, text: string, mode = 0o644): void {
    const path = this.#path(name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, text, { mode });
  }
}
