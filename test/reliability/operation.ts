import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, existsSync } from "node:fs";
import { Environment } from "../../src/store/environment.js";
import { readDigestKey } from "../../src/store/keys.js";
import { putLastUse } from "../../src/store/usage.js";
import { type Operation, type OperationName, operations } from "./fixtures/operations.js";
import {
  acknowledgedIn,
  neitherOldNorNew,
  readInFreshProcess,
  type State,
  stateOf,
  unsound,
} from "./judge.js";
import { type Ended, ended, fixture, TemporaryDirectory } from "./processes.js";
import type { OperationSite } from "./site.js";

export const operationNames = Object.keys(operations) as OperationName[];

/** One operation of the table, with the states before and after it when nothing interferes. */
export class RehearsedOperation {
  private constructor(
    readonly name: OperationName,
    readonly site: OperationSite,
    readonly before: State,
    readonly after: State,
    readonly template: string | undefined,
  ) {}

  /** `template` is a cache as `prepareTemplate` made it. */
  static async rehearse(
    name: OperationName,
    site: OperationSite,
    template: string,
  ): Promise<RehearsedOperation> {
    const { onNothing = false }: Operation = operations[name];
    const from = onNothing ? undefined : template;
    using trial = new Trial(name, site, from);
    const before = from === undefined ? new Map<string, string>() : stateOf(await trial.read());
    const { status, stdout, stderr } = await ended(trial.start());
    if (status !== 0 || !stdout.includes('"failure":null'))
      throw new Error(`${name}, undisturbed, ended with ${status}: ${stdout}${stderr}`);
    return new RehearsedOperation(name, site, before, stateOf(await trial.read()), from);
  }

  trial(): Trial {
    return new Trial(this.name, this.site, this.template);
  }

  /** What a fresh process finds wrong after the operation ended in whatever way, and how long it took to open. */
  async judge(trial: Trial): Promise<{ readonly faults: string[]; readonly openMs: readonly number[] }> {
    const contents = await readInFreshProcess(trial.directory);
    const faults = unsound(trial.directory, contents);
    if (contents.complaint === undefined)
      faults.push(...neitherOldNorNew(stateOf(contents), { ...this, acknowledged: trial.acknowledged }));
    return { faults, openMs: contents.openMs };
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

/** Makes what operations begin with in `directory`, used so long ago that any use is noted again. */
export async function prepareTemplate(directory: string, site: OperationSite): Promise<void> {
  const { status, stdout, stderr }: Ended = await ended(
    startOperation(directory, site, "prepare", ["/dev/null"], {}),
  );
  if (status !== 0 || !stdout.includes('"failure":null') || !existsSync(directory))
    throw new Error(`the preparation ended with ${status}: ${stdout}${stderr}`);
  const environment = Environment.open({ directory });
  environment.commit(() => {
    for (const key of environment.tree("images").keys())
      putLastUse(environment, readDigestKey(key).digest, Date.now() - 3_600_000);
  });
  environment.close();
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
