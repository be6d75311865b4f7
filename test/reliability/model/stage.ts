import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { BytecodeCache } from "../../../src/cache.js";
import { toBpfcacheError } from "../../../src/core/errors.js";
import { openCache } from "../../../src/open-cache.js";
import type { CacheOptions } from "../../../src/options.js";
import { startTestRegistry, type TestRegistry } from "../../support/test-registry.js";
import { randomFrom } from "../processes.js";
import { Model, type Policy } from "./model.js";
import { makePool, type PlatformName, type PooledImage } from "./pool.js";

export const names = ["a/one:v1", "a/one:v2", "a/two:v1", "a_two:v1", "b/one:v1", "b/one:latest"];

/** A cache, its model, the registry of both, and the chance that chooses what is done to them. */
export class Stage {
  /** What was done last, newest last. */
  readonly history: string[] = [];
  readonly model = new Model();
  readonly pool = makePool();
  readonly random: () => number;
  cache: BytecodeCache;
  /** How many steps were taken. */
  steps = 0;

  private constructor(
    readonly directory: string,
    readonly registry: TestRegistry,
    cache: BytecodeCache,
    seed: number,
  ) {
    this.cache = cache;
    this.random = randomFrom(seed);
  }

  static async start(directory: string, seed: number): Promise<Stage> {
    const registry = await startTestRegistry();
    return new Stage(directory, registry, await open(directory), seed);
  }

  async reopen(options: Partial<CacheOptions> = {}): Promise<void> {
    await this.cache.close();
    this.cache = await open(this.directory, options);
  }

  async close(): Promise<void> {
    await this.cache.close();
    await this.registry.close();
  }

  /** A digest is answered under any name, so it may be here without a row of its own. */
  meant(reference: string, platform: PlatformName): PooledImage | undefined {
    const [, digest] = reference.split("@");
    const held = this.model.held(reference, platform);
    return held ?? (digest === undefined ? undefined : this.model.meansHere(digest, platform, this.pool));
  }

  requireSame(what: string, found: unknown, expected: unknown): void {
    if (isDeepStrictEqual(found, expected)) return;
    throw new Error(`${what} is\n${JSON.stringify(found)}\nand should be\n${JSON.stringify(expected)}`);
  }

  note(what: string): void {
    this.history.push(`${this.steps}: ${what}`);
    if (this.history.length > 30) this.history.shift();
  }

  reference(): string {
    return this.registry.reference(this.choice(names));
  }

  anyReference(): string {
    const held = this.model.references();
    return held.length > 0 && this.random() < 0.8 ? this.choice(held) : this.reference();
  }

  image(): PooledImage {
    return this.choice(this.pool);
  }

  platform(): PlatformName {
    return this.random() < 0.7 ? "linux/amd64" : "linux/arm64";
  }

  policy(): Policy {
    return this.choice(["Always", "Always", "IfNotPresent", "Never"] as const);
  }

  choice<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.random() * choices.length)] as T;
  }
}

function open(directory: string, options: Partial<CacheOptions> = {}): Promise<BytecodeCache> {
  return openCache({ directory: join(directory, "cache"), limits: { retries: 0 }, ...options });
}

/** How it fails; undefined when it does not. */
export async function codeOf(work: () => unknown): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (error instanceof Error && error.name !== "BpfcacheError") throw error;
    return toBpfcacheError(error).code;
  }
}
