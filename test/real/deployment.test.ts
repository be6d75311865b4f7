import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DaemonSet } from "kubernetes-models/apps/v1";
import { ConfigMap, Namespace } from "kubernetes-models/v1";
import ts from "typescript";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import { json, sampleImage, User } from "../cli/command.js";
import { type Ended, run, TemporaryDirectory } from "../reliability/processes.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { requireTools } from "../support/tools.js";

const examples = join(import.meta.dirname, "..", "..", "examples");

/** A host on which `bpfcache` is the built program and nobody sleeps, with a registry in the place of quay.io. */
class Host {
  readonly #files = new TemporaryDirectory();

  constructor(
    readonly user: User,
    registry: TestRegistry,
  ) {
    this.#program("bpfcache", 'exec "$NODE" "$MAIN" "$@"');
    this.#program("sleep", "exit 0");
    writeFileSync(this.list, `${registry.reference("bpfman-bytecode/go-xdp-counter:latest")}\n`);
  }

  get list(): string {
    return this.#files.join("images.txt");
  }

  /** Runs a command of an example with this host's paths in it, as root without capabilities where that can be tried. */
  run(command: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
    const here = command.map((word) =>
      word
        .replaceAll("/usr/local/bin/bpfcache", "bpfcache")
        .replaceAll("/etc/bpfcache/images.txt", this.list)
        .replaceAll("/run/loader", this.#files.path),
    );
    const isRoot = process.getuid?.() === 0 && requireTools("setpriv") === undefined;
    const [program = "", ...args] = isRoot
      ? ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", ...here]
      : here;
    const { PATH, ...environment } = this.user.environment;
    return run(program, args, { env: { ...environment, PATH: `${this.#files.path}:${PATH}`, ...env } });
  }

  file(name: string): Buffer {
    return readFileSync(this.#files.join(name));
  }

  #program(name: string, body: string): void {
    writeFileSync(this.#files.join(name), `#!/bin/sh\n${body}\n`);
    chmodSync(this.#files.join(name), 0o755);
  }

  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
  }
}

let registry: TestRegistry;
let user: User;
let host: Host;
beforeAll(async () => {
  registry = await startTestRegistry();
  registry.add("bpfman-bytecode/go-xdp-counter:latest", sampleImage());
  user = new User();
  host = new Host(user, registry);
});
afterAll(async () => {
  host[Symbol.dispose]();
  user[Symbol.dispose]();
  await registry.close();
});

describe("examples/systemd", () => {
  const directory = join(examples, "systemd");
  const missing = requireTools("systemd-analyze");

  it.skipIf(missing)(`has units that systemd finds nothing wrong with${missing ?? ""}`, async () => {
    using copies = new TemporaryDirectory();
    const names = readdirSync(directory);
    // Whether the program is installed is not a question of the unit.
    for (const name of names) {
      const unit = readFileSync(join(directory, name), "utf8");
      writeFileSync(copies.join(name), unit.replaceAll("/usr/local/bin/bpfcache", "/bin/true"));
    }
    const paths = names.map((name) => copies.join(name));
    const { status, stdout, stderr } = await run("systemd-analyze", ["verify", "--man=no", ...paths]);
    // Of what it does not know, systemd only warns.
    expect({ status, said: stdout + stderr }).toEqual({ status: 0, said: "" });
    expect(names.sort()).toEqual([
      "bpfcache-follow.service",
      "bpfcache-prefetch.service",
      "bpfcache-prefetch.timer",
    ]);
  });

  const commandOf = (name: string): string[] => {
    const unit = readFileSync(join(directory, name), "utf8");
    return /^ExecStart=(.+)$/m.exec(unit)?.[1]?.split(" ") ?? [];
  };

  it("prefetches what the list says", async () => {
    const { status, stdout } = await host.run([...commandOf("bpfcache-prefetch.service"), "--json"]);
    expect(status).toBe(0);
    expect(json(stdout)).toMatchObject({ images: [{ from: "registry" }], failed: [] });
  });

  it("follows what the list says", async () => {
    const command = commandOf("bpfcache-follow.service");
    expect(command).toEqual(expect.arrayContaining(["--follow"]));
    // timeout ends it as systemd does, with SIGTERM.
    const { status, stdout } = await host.run(["timeout", "--preserve-status", "10", ...command, "--json"]);
    expect(status).toBe(0);
    expect(json(stdout)).toMatchObject({
      rounds: 1,
      images: [{ reference: expect.any(String) }],
      failed: [],
    });
  });
});

describe("examples/kubernetes", () => {
  const text = readFileSync(join(examples, "kubernetes", "bpfcache.yaml"), "utf8");
  const documents = parseAllDocuments(text).map((document) => document.toJS());
  const models = { Namespace, ConfigMap, DaemonSet };
  const [, list, daemonSet] = documents;
  const { initContainers, containers, volumes } = daemonSet.spec.template.spec;
  const everyContainer = [...initContainers, ...containers];

  it.each(Object.entries(models))("has a %s that Kubernetes' schema allows", (kind, Model) => {
    const found = documents.filter((document) => document.kind === kind);
    expect(found).toHaveLength(1);
    for (const document of found) expect(() => new Model(document).validate()).not.toThrow();
  });

  it("has no field that Kubernetes does not know", () => {
    const typed = documents.map(
      (document, i) =>
        `import type { I${document.kind} as Type${i} } from "kubernetes-models/${document.apiVersion}";\n` +
        `export const document${i}: Type${i} = ${JSON.stringify(document)};\n`,
    );
    expect(faultsIn(typed.join(""))).toEqual([]);
    expect(faultsIn(typed.join("").replace('"containers":', '"containres":')).join()).toContain("containres");
  }, 120_000);

  it("mounts only volumes that it has, of a list that it has, for the pods that it makes", () => {
    const names = volumes.map(({ name }: { name: string }) => name);
    for (const { volumeMounts } of everyContainer)
      for (const { name } of volumeMounts) expect(names).toContain(name);
    expect(volumes).toContainEqual(expect.objectContaining({ configMap: { name: list.metadata.name } }));
    expect(daemonSet.spec.template.metadata.labels).toMatchObject(daemonSet.spec.selector.matchLabels);
  });

  const argsOf = (name: string): string[] =>
    everyContainer.find((container: { name: string }) => container.name === name).args;
  const image = (): string => registry.reference("bpfman-bytecode/go-xdp-counter:latest");

  it("fills the cache before the loader starts, which then reads what its list names", async () => {
    expect(list.data["images.txt"].trim()).toBe(
      containers.at(-1).env.find(({ name }: { name: string }) => name === "IMAGE").value,
    );
    expect(await host.run(argsOf("prefetch"))).toMatchObject({ status: 0 });
    expect(await host.run(argsOf("loader"), { IMAGE: image() })).toMatchObject({ status: 0 });
    expect(host.file("program.o").subarray(0, 4)).toEqual(Buffer.from("\x7fELF", "latin1"));
  });

  it("starts again while the registry is down, and its loader asks nobody for what is not there", async () => {
    await host.run(argsOf("prefetch"));
    const stop = registry.break({}, { destroyAt: 0 });
    registry.forget();
    expect(await host.run(argsOf("prefetch"))).toMatchObject({ status: 0 });
    expect(await host.run(argsOf("loader"), { IMAGE: image() })).toMatchObject({ status: 0 });
    const other = registry.reference("org/other:v1");
    expect(await host.run(argsOf("loader"), { IMAGE: other })).toMatchObject({ status: 4 });
    expect(registry.requests).toEqual([]);
    stop();
  });
});

/** What the compiler has against a module that stands beside this file, without a file for it. */
function faultsIn(source: string): string[] {
  const path = join(import.meta.dirname, "manifests.ts");
  const options: ts.CompilerOptions = {
    noEmit: true,
    strict: true,
    skipLibCheck: true,
    types: [],
    module: ts.ModuleKind.NodeNext,
    target: ts.ScriptTarget.ES2022,
  };
  const files = ts.createCompilerHost(options);
  const { getSourceFile, fileExists } = files;
  files.fileExists = (name) => name === path || fileExists(name);
  files.getSourceFile = (name, version, ...rest) =>
    name === path ? ts.createSourceFile(name, source, version) : getSourceFile(name, version, ...rest);
  const program = ts.createProgram([path], options, files);
  return ts
    .getPreEmitDiagnostics(program)
    .map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"));
}
