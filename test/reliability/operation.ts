import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, existsSync } from "node:fs";
import { join } from "node:path";
import { digestOf } from "../../src/core/digest.js";
import { putContent } from "../../src/store/content-bytes.js";
import { Environment } from "../../src/store/environment.js";
import { digestKey, readDigestKey } from "../../src/store/keys.js";
import { putLastUse } from "../../src/store/usage.js";
import { type Operation, type OperationName, operations, preparations } from "./fixtures/operations.js";
import {
  acknowledgedIn,
  type Lack,
  neitherOldNorNew,
  readInFreshProcess,
  type State,
  stateOf,
  unsound,
} from "./judge.js";
import { type Ended, ended, fixture, TemporaryDirectory } from "./processes.js";
import type { OperationSite } from "./site.js";

export const operationNames = Object.keys(operations) as OperationName[];

type Begin = keyof typeof preparations;

/** A cache for each thing that operations begin with. */
export type Templates = ReadonlyMap<Begin, string>;

/** One operation of the table, with the states before and after it when nothing interferes. */
export class RehearsedOperation {
  private constructor(
    readonly name: OperationName,
    readonly site: OperationSite,
    readonly before: State,
    readonly after: State,
    readonly template: string | undefined,
    readonly mayLack: Lack,
  ) {}

  static async rehearse(
    name: OperationName,
    site: OperationSite,
    templates: Templates,
  ): Promise<RehearsedOperation> {
    const { begin = "held", mayLack }: Operation = operations[name];
    const from = begin === "nothing" ? undefined : templates.get(begin);
    using trial = new Trial(name, site, from);
    const before = from === undefined ? new Map<string, string>() : stateOf(await trial.read());
    const { status, stdout, stderr } = await ended(trial.start());
    if (status !== 0 || !stdout.includes('"failure":null'))
      throw new Error(`${name}, undisturbed, ended with ${status}: ${stdout}${stderr}`);
    return new RehearsedOperation(name, site, before, stateOf(await trial.read()), from, mayLack);
  }

  trial(): Trial {
    return new Trial(this.name, this.site, this.template);
  }

  /** What a fresh process finds wrong after the operation ended in whatever way, and how long it took to open. */
  async judge(trial: Trial): Promise<{ readonly faults: string[]; readonly openMs: readonly number[] }> {
    const contents = await readInFreshProcess(trial.directory);
    const faults = unsound(trial.directory, contents, this.mayLack);
    const mayHide = this.mayLack === "soundness";
    const { acknowledged } = trial;
    if (contents.complaint === undefined)
      faults.push(...neitherOldNorNew(stateOf(contents), { ...this, acknowledged, mayHide }));
    if (mayHide) faults.push(...(await this.#whatIsNotRepaired(trial)));
    return { faults, openMs: contents.openMs };
  }

  /** A repair that was cut short is finished by the next. */
  async #whatIsNotRepaired(trial: Trial): Promise<string[]> {
    const { status, stdout, stderr } = await ended(trial.start());
    if (status !== 0 || !stdout.includes('"failure":null'))
      return [`the next repair ended with ${status}: ${stdout}${stderr}`];
    const contents = await trial.read();
    const faults = [
      ...unsound(trial.directory, contents),
      ...neitherOldNorNew(stateOf(contents), { before: this.after, after: this.after }),
    ];
    return faults.map((fault) => `after the next repair: ${fault}`);
  }
}

/** A directory with a cache that one operation is tried on. */
export class Trial {
  readonly #temporary = new TemporaryDirectory();
  readonly #name: OperationName;
  readonly #site: OperationSite;

  constructor(name: OperationName, site: OperationSite, template: string | undefined) {
    this.#name = name;
    this.#site = site;
    if (template !== undefined) cpSync(template, this.directory, { recursive: true });
  }

  /** All that the operation writes is below it. */
  get directory(): string {
    return this.#temporary.join("cache");
  }

  get acknowledged(): Set<string> {
    return acknowledgedIn(this.#temporary.join("acknowledgements"));
  }

  read(): ReturnType<typeof readInFreshProcess> {
    return readInFreshProcess(this.directory);
  }

  start(env: NodeJS.ProcessEnv = {}, ...options: readonly string[]): ChildProcess {
    return startOperation(
      this.directory,
      this.#site,
      this.#name,
      [this.#temporary.join("acknowledgements"), ...options],
      env,
    );
  }

  [Symbol.dispose](): void {
    this.#temporary[Symbol.dispose]();
  }
}

/** Makes what operations begin with, below `directory`. All of it was used so long ago that any use is noted again. */
export async function prepareTemplates(directory: string, site: OperationSite): Promise<Templates> {
  const templates = new Map<Begin, string>();
  for (const begin of Object.keys(preparations) as Begin[]) {
    const path = join(directory, begin);
    const child = startOperation(path, site, begin, ["/dev/null"], {});
    const { status, stdout, stderr }: Ended = await ended(child);
    if (status !== 0 || !stdout.includes('"failure":null') || !existsSync(path))
      throw new Error(`the preparation ${begin} ended with ${status}: ${stdout}${stderr}`);
    const environment = Environment.open({ directory: path });
    environment.commit(() => {
      for (const key of environment.tree("images").keys())
        putLastUse(environment, readDigestKey(key).digest, Date.now() - 3_600_000);
      if (begin === "damaged") damageContent(environment);
    });
    environment.close();
    templates.set(begin, path);
  }
  return templates;
}

/** One value of each kind has another byte in it, a program is not found by its name, and something is held by nobody. */
function damageContent(environment: Environment): void {
  for (const name of ["configs", "layers", "objects"] as const) {
    const [row] = environment.tree(name).entries();
    if (row === undefined) throw new Error(`there is nothing in ${name} to damage`);
    row.value[row.value.length >> 1] = (row.value[row.value.length >> 1] ?? 0) ^ 1;
    environment.tree(name).put(row.key, row.value);
  }
  const [program] = environment.tree("byProgram").keys();
  if (program === undefined) throw new Error("there is no program to forget");
  environment.tree("byProgram").remove(program);
  const stray = Buffer.from("needed by nothing");
  putContent(environment, "layers", digestKey(digestOf(stray)), stray);
}

function startOperation(
  directory: string,
  site: OperationSite,
  name: string,
  options: readonly string[],
  env: NodeJS.ProcessEnv,
): ChildProcess {
  return spawn(process.execPath, [fixture("operate.js"), directory, site.file, name, ...options], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
}
