import { execFileSync, spawnSync } from "node:child_process";
import { accessSync, constants, existsSync, mkdirSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { repositoryRoot } from "./children.js";

const goModules: Readonly<Record<string, string>> = {
  oras: "oras.land/oras/cmd/oras@v1.3.6",
  crane: "github.com/google/go-containerregistry/cmd/crane@v0.22.1",
  regctl: "github.com/regclient/regclient/cmd/regctl@v0.11.7",
  regsync: "github.com/regclient/regclient/cmd/regsync@v0.11.7",
  ig: "github.com/inspektor-gadget/inspektor-gadget/cmd/ig@v0.45.0",
  bpfman: "github.com/bpfman/bpfman/cmd/bpfman@latest",
};

const versionArguments: Readonly<Record<string, readonly string[]>> = {
  oras: ["version"],
  crane: ["version"],
  regctl: ["version"],
  regsync: ["version"],
  skopeo: ["--version"],
  "docker-registry": ["--version"],
};

/** The programs of others that bpfcache is measured against: those that are here or could be built. */
export class Peers {
  readonly #paths = new Map<string, string>();
  /** Those that are left out, and why. */
  readonly missing = new Map<string, string>();

  /** Finds them, and builds what Go and Cargo can build and is not here. */
  static find(log: (message: string) => void): Peers {
    const peers = new Peers();
    for (const name of ["skopeo", "docker-registry"]) peers.#find(name, "install the Debian package");
    for (const [name, module] of Object.entries(goModules)) peers.#findOrInstall(name, module, log);
    peers.#build("oras-layout", "go", ["build", "-o", builtProgram("oras-layout"), "."], log);
    const target = ["--target-dir", join(builtPrograms, "cargo-target")];
    peers.#build("bpfman-path", "cargo", ["build", "--quiet", "--release", "--locked", ...target], log);
    return peers;
  }

  has(...names: readonly string[]): boolean {
    return names.every((name) => this.#paths.has(name));
  }

  /** Its path. */
  program(name: string): string {
    const path = this.#paths.get(name);
    if (path === undefined) throw new Error(`${name} is not here: ${this.missing.get(name)}`);
    return path;
  }

  /** By name, as each tells it. */
  versions(): Record<string, string> {
    return Object.fromEntries(
      [...this.#paths].map(([name, path]) => {
        const { stdout = "" } = spawnSync(path, versionArguments[name] ?? [], {
          encoding: "utf8",
          input: "",
        });
        return [name, /v?\d+\.\d+\.\d+\S*/.exec(stdout)?.[0] ?? "built here"];
      }),
    );
  }

  #find(name: string, otherwise: string): void {
    const path = onPath(name);
    if (path === undefined) this.missing.set(name, otherwise);
    else this.#paths.set(name, path);
  }

  #findOrInstall(name: string, module: string, log: (message: string) => void): void {
    const found = onPath(name);
    if (found !== undefined) {
      this.#paths.set(name, found);
      return;
    }
    if (onPath("go") === undefined) {
      this.missing.set(name, "there is no go to build it with");
      return;
    }
    log(`go install ${module}`);
    const env = { ...process.env, GOBIN: builtPrograms };
    const { status, stderr } = spawnSync("go", ["install", module], { env, encoding: "utf8" });
    if (status === 0) this.#paths.set(name, join(builtPrograms, name));
    else this.missing.set(name, `go install: ${reasonIn(stderr)}`);
  }

  /** Builds a program of this directory. */
  #build(name: string, tool: "go" | "cargo", args: readonly string[], log: (message: string) => void): void {
    const directory = { go: "oras-layout", cargo: "sled" }[tool];
    const built = tool === "go" ? builtProgram(name) : join(builtPrograms, "cargo-target/release", name);
    const builder = onPath(tool);
    if (builder === undefined) {
      this.missing.set(name, `there is no ${tool} to build it with`);
      return;
    }
    log(`${tool} build of ${name}`);
    const cwd = join(repositoryRoot, "test/bench", directory);
    const { status, stderr } = spawnSync(builder, args, { cwd, encoding: "utf8" });
    if (status === 0) this.#paths.set(name, built);
    else this.missing.set(name, `${tool} build: ${reasonIn(stderr)}`);
  }
}

/** What is built here and not installed by anybody. */
const builtPrograms = join(repositoryRoot, "node_modules/.cache/bpfcache-bench/programs");
mkdirSync(builtPrograms, { recursive: true });

function builtProgram(name: string): string {
  return join(builtPrograms, name);
}

function onPath(name: string): string | undefined {
  const path = (process.env["PATH"] ?? "").split(delimiter);
  return [builtPrograms, ...path, ...goPrograms(), join(homedir(), ".cargo/bin")]
    .map((directory) => join(directory, name))
    .find(isExecutable);
}

let goBin: string[] | undefined;

/** Where `go install` puts programs, which is seldom on PATH. */
function goPrograms(): string[] {
  if (goBin !== undefined) return goBin;
  try {
    const paths = execFileSync("go", ["env", "GOBIN", "GOPATH"], { encoding: "utf8" }).split("\n");
    const [bin = "", path = ""] = paths;
    goBin = [bin, join(path, "bin")].filter((directory) => existsSync(directory));
  } catch {
    goBin = [];
  }
  return goBin;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}

/** The last line that says something. */
function reasonIn(stderr: string | null): string {
  return stderr?.trim().split("\n").at(-1)?.trim() ?? "it failed";
}
