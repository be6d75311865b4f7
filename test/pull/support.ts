import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach } from "vitest";
import type { BytecodeCache } from "../../src/cache.js";
import { BpfcacheError } from "../../src/core/errors.js";
import type { CacheEvent } from "../../src/core/events.js";
import { openCache } from "../../src/open-cache.js";
import type { CacheOptions } from "../../src/options.js";
import { Environment } from "../../src/store/environment.js";
import { type TreeName, treeNames } from "../../src/store/trees.js";
import { bytecodeImage, type ImageOptions, minimalBpfElf, type TestImage } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry, type TestRegistryOptions } from "../support/test-registry.js";

const cleanups: (() => unknown)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Runs when the test is over, the last one registered first. */
export function afterThisTest(cleanup: () => unknown): void {
  cleanups.push(cleanup);
}

export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), "bpfcache-test-"));
  afterThisTest(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

export async function startRegistry(options: TestRegistryOptions = {}): Promise<TestRegistry> {
  const registry = await startTestRegistry(options);
  afterThisTest(() => registry.close());
  return registry;
}

/** A cache for linux/amd64 in a directory of its own, which asks only once: no test waits for a second try. */
export async function openTestCache(options: CacheOptions = {}): Promise<BytecodeCache> {
  const cache = await openCache({
    directory: options.directory ?? temporaryDirectory(),
    platform: "linux/amd64",
    ...options,
    limits: { retries: 0, ...options.limits },
  });
  afterThisTest(() => cache.close());
  return cache;
}

/** An image that shares nothing with one of another name: its one object has a program of that name. */
export function imageNamed(program: string, options: ImageOptions = {}): TestImage {
  return bytecodeImage({
    objects: [{ path: `${program}.o`, bytes: minimalBpfElf({ programs: [{ name: program }] }) }],
    labels: { name: program },
    ...options,
  });
}

/** The failure, which must be one of bpfcache's own. */
export async function failureOf(work: Promise<unknown>): Promise<BpfcacheError> {
  try {
    await work;
  } catch (error) {
    if (error instanceof BpfcacheError) return error;
    throw error;
  }
  throw new Error("it did not fail");
}

/** What the server was asked, as "GET manifest 200". */
export function asked(registry: TestRegistry): string[] {
  return registry.requests.map(({ method, kind, status }) => `${method} ${kind} ${status}`);
}

/** How often the server was asked for a path with this in it. */
export function timesAsked(registry: TestRegistry, part: string): number {
  return registry.requests.filter(({ path }) => path.includes(part)).length;
}

/** Sizes of everything a pull of these images' content brings: the manifest, the config and the layers. */
export function bytesOf({ manifest, config, layers }: TestImage): number {
  return [manifest, config, ...layers].reduce((sum, { size }) => sum + size, 0);
}

/** Resolves at the first event that fits. Give `onEvent` to what sends them. */
export function eventAwaited(fits: (event: CacheEvent) => boolean): {
  readonly onEvent: (event: CacheEvent) => void;
  readonly seen: Promise<void>;
} {
  const { given, give } = signal();
  return { seen: given, onEvent: (event) => (fits(event) ? give() : undefined) };
}

/** A promise, and what fulfils it. */
export function signal(): { readonly given: Promise<void>; readonly give: () => void } {
  let give = (): void => {};
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return { given, give };
}

/** Rows of every tree that has some; `meta` describes the database itself and is left out. The cache must be closed. */
export function rowsIn(directory: string): Partial<Record<TreeName, number>> {
  const environment = Environment.open({ directory, readOnly: true });
  try {
    const counts = treeNames.map((name) => [name, environment.tree(name).size] as const);
    return Object.fromEntries(counts.filter(([name, count]) => name !== "meta" && count > 0));
  } finally {
    environment.close();
  }
}
