import { fork } from "node:child_process";
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ManagedProgram } from "../../src/index.js";
import { Environment } from "../../src/store/environment.js";
import { randomFrom } from "../reliability/processes.js";
import { seed, times } from "../reliability/soak.js";
import { objectOf } from "./objects.js";
import { bpftool, idsNamed, noKernel, ProgramSite, pinsUnder, uniqueName } from "./support.js";

const kills = times(20, 200);
const random = randomFrom(seed);
const worker = fileURLToPath(new URL("fixtures/load-unload.js", import.meta.url));
const stepper = fileURLToPath(new URL("fixtures/kill-at-step.js", import.meta.url));
/** Of the steps, one in so many is looked at. */
const stride = times(3, 1);

describe.skipIf(noKernel)(`a process killed at work on programs${noKernel ?? ""}`, () => {
  const site = new ProgramSite();
  const names = [uniqueName("kill_a"), uniqueName("kill_b")] as const;
  const acknowledgements = site.path("acknowledgements");
  let reference: string;

  beforeAll(async () => {
    const cache = await site.open();
    const bytes = objectOf([
      [names[0], "xdp", 2],
      [names[1], "socket", 0],
    ]);
    reference = await site.seed(cache, names[0], bytes);
    await cache.close();
  });
  afterAll(() => site[Symbol.asyncDispose](), 60_000);

  it(
    `leaves nothing orphaned and loses nothing, ${kills} times (seed ${seed})`,
    async () => {
      let acknowledged = 0;
      for (let kill = 0; kill < kills; kill++) {
        await killAtRandom();
        const said = linesOf(acknowledgements);
        expect(await judge(said), `kill ${kill}`).toEqual([]);
        acknowledged = said.length;
        if (kill % 20 === 19) await requireSound(`kill ${kill}, ${acknowledged} acknowledgements`);
      }
      console.info(`${kills} kills, ${acknowledged} acknowledgements`);
      expect(acknowledged).toBeGreaterThan(kills / 2);
    },
    times(300_000, 3_600_000),
  );

  it(
    "leaves nothing orphaned and loses nothing, at whichever step of a load and its unloading",
    async () => {
      let step = 1;
      for (let isKilled = true; isKilled; step += stride) {
        const words = [site.directory, acknowledgements, reference, String(step)];
        const child = fork(stepper, words, { stdio: "inherit" });
        const [status, signal] = await once(child, "exit");
        isKilled = signal === "SIGKILL";
        if (!isKilled) expect(status).toBe(0);
        const said = linesOf(acknowledgements);
        expect(await judge(said), `step ${step}`).toEqual([]);
      }
      await requireSound(`step ${step}`);
      console.info(`killed at steps 1 to ${step - stride}, one of ${stride}`);
      expect(step).toBeGreaterThan(15);
    },
    times(300_000, 1_800_000),
  );

  /** Half of the kills come while the process starts and settles what the last one left, or soon after. */
  async function killAtRandom(): Promise<void> {
    const words = [site.directory, acknowledgements, reference, names[0]];
    const child = fork(worker, words, { stdio: "inherit" });
    const exited = once(child, "exit");
    if (random() < 0.8) await Promise.race([once(child, "message"), exited]);
    await sleep(random() * 700);
    expect(child.exitCode, "the worker ended by itself").toBeNull();
    child.kill("SIGKILL");
    await exited;
  }

  async function requireSound(when: string): Promise<void> {
    console.info(when);
    const cache = await site.open();
    expect((await cache.scrub()).damaged, when).toEqual([]);
    await cache.close();
  }

  /** In the order of the acknowledgements: what was loaded and not begun to be unloaded must be there. */
  async function judge(said: readonly string[]): Promise<string[]> {
    const cache = await site.open();
    const { programs } = await cache.programs.list();
    const complaints: string[] = [];
    const ids = programs.map(({ id }) => id);
    const [loaded, unloading, unloaded] = ["loaded", "unloading", "unloaded"].map(
      (word) =>
        new Set(said.filter((line) => line.startsWith(`${word} `)).map((line) => Number(line.split(" ")[1]))),
    );
    for (const id of loaded ?? []) {
      if (!ids.includes(id) && unloading?.has(id) !== true)
        complaints.push(`the program ${id} has been lost`);
    }
    for (const id of unloaded ?? []) if (ids.includes(id)) complaints.push(`the program ${id} has come back`);
    complaints.push(...programs.flatMap(faultsOf));
    // A loader that was started by the process may still be on its way to find its directory gone.
    let orphans: readonly number[] = [];
    for (let attempt = 0; attempt < 50; attempt++) {
      orphans = names.flatMap(idsNamed).filter((id) => !ids.includes(id));
      if (orphans.length === 0) break;
      await sleep(50);
    }
    if (orphans.length > 0) complaints.push(`orphaned in the kernel: ${orphans.join()}`);
    const pins = new Set(programs.map(({ pin }) => pin));
    const [first] = programs;
    if (first !== undefined) {
      const own = dirname(dirname(dirname(first.pin)));
      const stray = pinsUnder(own).filter((path) => path.includes("/programs/") && !pins.has(path));
      const directories = new Set(programs.map(({ mapPinPath }) => dirname(mapPinPath)));
      const strayDirectories = readdirSync(own).filter((name) => !directories.has(`${own}/${name}`));
      if (stray.length + strayDirectories.length > 0)
        complaints.push(`orphaned pins: ${[...stray, ...strayDirectories].join()}`);
    }
    const staged = readdirSync("/dev/shm").filter((name) => existsSync(`/dev/shm/${name}/${names[0]}.o`));
    if (staged.length > 0) complaints.push(`left in /dev/shm: ${staged.join()}`);
    await cache.close();
    const environment = Environment.open({ directory: site.directory });
    const pending = environment.snapshot(() => environment.tree("pending").keys().length);
    environment.close();
    if (pending > 0) complaints.push(`${pending} rows are left in pending`);
    return complaints;
  }
});

function faultsOf({ id, state, pin, tag, loadedAt, mapIds, metadata }: ManagedProgram): string[] {
  if (state !== "loaded") return [`the program ${id} is ${state}`];
  if (!existsSync(pin)) return [`the program ${id} is not pinned`];
  const kernel = bpftool("prog", "show", "pinned", pin);
  const isSame = kernel.id === id && kernel.tag === tag && kernel.loaded_at * 1_000 === Date.parse(loadedAt);
  const isWhole = String(kernel.map_ids) === String(mapIds) && metadata["round"] !== undefined;
  return isSame && isWhole ? [] : [`the program ${id} is not what is known of it`];
}

function linesOf(file: string): readonly string[] {
  return existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
}
