import { join } from "node:path";
import { openCache } from "../../src/open-cache.js";
import { openReader } from "../../src/reader.js";
import { Environment } from "../../src/store/environment.js";
import { type LostReference, lostReferences } from "../../src/store/lost.js";
import { Store } from "../../src/store/store.js";
import { checkClosure } from "../reliability/check-closure.js";
import { fixture, run, type TemporaryDirectory } from "../reliability/processes.js";
import { bytecodeImage, minimalBpfElf, writeLayout } from "../support/image-builder.js";

export const platform = "linux/amd64";

export function referenceOf(index: number): string {
  return `registry.example/image-${index}:v1`;
}

/** Seeds a cache with `count` images, each with an object of this many bytes and more. */
export async function seedImages(
  directory: string,
  layout: string,
  count: number,
  bytes = 1_000,
): Promise<void> {
  const images = Array.from({ length: count }, (_, index) => {
    const rodata = { name: ".rodata", bytes: Buffer.alloc(bytes, index) };
    const object = minimalBpfElf({ programs: [{ name: `program_${index}` }], sections: [rodata] });
    return {
      name: referenceOf(index),
      root: bytecodeImage({ objects: [{ path: `${index}.o`, bytes: object }] }),
    };
  });
  writeLayout(layout, images);
  await using cache = await openCache({ directory, platform });
  const { failed } = await cache.seed([layout]);
  if (failed.length > 0) throw new Error(JSON.stringify(failed));
}

/** The references whose every object can be read, and is what its digest says; an error for one that is not. */
export function readAll(directory: string): string[] {
  using reader = openReader({ directory });
  const images = reader.list();
  for (const { reference, objects } of images)
    for (const { name } of objects) reader.bytecode(reference, { platform, object: name });
  return images.map(({ reference }) => reference);
}

/** What is wrong with a cache that must be whole, for readers and for writers. */
export function faultsOf(directory: string, references: readonly string[]): string[] {
  const faults = checkClosure(directory);
  const read = readAll(directory);
  if (read.join() !== references.join()) faults.push(`a reader finds ${read.join(", ") || "nothing"}`);
  const store = Store.open({ directory });
  const listed = store.list().map(({ reference }) => reference);
  if (store.recovery !== undefined) faults.push(`it was damaged: ${store.recovery.fault}`);
  store.close();
  if (listed.join() !== references.join()) faults.push(`a writer finds ${listed.join(", ") || "nothing"}`);
  return faults;
}

/** The references that the cache means to fetch again. */
export function lostIn(directory: string): LostReference[] {
  const environment = Environment.open({ directory, readOnly: true });
  try {
    return lostReferences(environment);
  } finally {
    environment.close();
  }
}

/**
 * Has a process die before each of the steps of opening (or compacting) a cache that `make` has made, and hands what it
 * leaves to `check`. Returns how many steps there are.
 */
export async function killAtEveryStep(
  parent: TemporaryDirectory,
  action: "open" | "compact",
  make: (directory: string) => Promise<void> | void,
  check: (directory: string, step: number) => Promise<void> | void,
): Promise<number> {
  for (let step = 1; ; step++) {
    const directory = join(parent.path, `${action}-${step}`);
    await make(directory);
    const ended = await run(process.execPath, [fixture("kill-at-step.js"), directory, String(step), action]);
    if (ended.signal !== "SIGKILL" && ended.status !== 0) throw new Error(`step ${step}: ${ended.stderr}`);
    await check(directory, step);
    if (ended.status === 0) return step - 1;
  }
}
