import { rmSync } from "node:fs";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";
import type { BytecodeCache } from "../../../src/cache.js";
import { digestOf } from "../../../src/core/digest.js";
import { toBpfcacheError } from "../../../src/core/errors.js";
import { openCache } from "../../../src/open-cache.js";
import { openReader } from "../../../src/reader.js";
import { writeLayout } from "../../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../../support/test-registry.js";
import { checkClosure } from "../check-closure.js";
import { randomFrom } from "../processes.js";
import { line, Model, type Policy } from "./model.js";
import { makePool, type PlatformName, type PooledImage, platforms } from "./pool.js";

const names = ["a/one:v1", "a/one:v2", "a/two:v1", "a_two:v1", "b/one:v1", "b/one:latest"];

/** How often each step is taken. A verb that is added to the cache gets its line here and a method below. */
const weights = {
  pull: 6,
  retag: 4,
  prefetch: 3,
  seed: 4,
  adopt: 3,
  inspect: 3,
  bytecode: 4,
  remove: 5,
  pin: 2,
  unpin: 1,
  reopen: 1,
  reader: 1,
  closure: 1,
} as const;

type Kind = keyof typeof weights;

/** A cache and its model, which take the same steps, chosen by a seed. Each step throws when they part. */
export class ModelRun {
  steps = 0;
  /** The last steps, newest last. */
  readonly history: string[] = [];
  readonly counts = new Map<Kind, number>();
  readonly kinds = Object.keys(weights) as Kind[];
  readonly #model = new Model();
  readonly #pool = makePool();
  readonly #directory: string;
  readonly #registry: TestRegistry;
  readonly #random: () => number;
  #cache: BytecodeCache;

  private constructor(directory: string, registry: TestRegistry, cache: BytecodeCache, seed: number) {
    this.#directory = directory;
    this.#registry = registry;
    this.#cache = cache;
    this.#random = randomFrom(seed);
  }

  static async start(directory: string, seed: number): Promise<ModelRun> {
    const registry = await startTestRegistry();
    return new ModelRun(directory, registry, await open(directory), seed);
  }

  async close(): Promise<void> {
    await this.#cache.close();
    await this.#registry.close();
  }

  get tally(): string {
    return [...this.counts].map(([kind, count]) => `${kind} ${count}`).join(", ");
  }

  async step(): Promise<void> {
    const kind = this.#choice(this.kinds.flatMap((name) => Array<Kind>(weights[name]).fill(name)));
    this.steps++;
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    await this[`${kind}Step`]();
    const listed = this.#cache
      .list()
      .map((image) =>
        line(image.reference, image.platform, { ...image, objects: image.objects.map(({ name }) => name) }),
      );
    this.#requireSame("list", listed.sort(), this.#model.list());
  }

  async pullStep(): Promise<void> {
    const [reference, platform, policy] = [this.#reference(), this.#platform(), this.#policy()];
    this.#note(`pull ${reference} ${platform} ${policy}`);
    const code = await codeOf(() => this.#cache.pull(reference, { platform, pullPolicy: policy }));
    this.#requireSame("code", code, this.#model.pull(reference, platform, policy));
  }

  /** The tag comes to mean something else at the registry, or nothing. */
  retagStep(): void {
    const name = this.#choice(names);
    const reference = this.#registry.reference(name);
    const image = this.#random() < 0.15 ? undefined : this.#image();
    this.#note(`retag ${reference} ${image?.root.root.digest}`);
    if (image === undefined) {
      this.#registry.remove(name);
      this.#model.registry.delete(reference);
    } else {
      this.#registry.add(name, image.root);
      this.#model.registry.set(reference, image);
    }
  }

  async prefetchStep(): Promise<void> {
    const [platform, policy] = [this.#platform(), this.#policy()];
    const references = names.filter(() => this.#random() < 0.5).map((name) => this.#registry.reference(name));
    this.#note(`prefetch ${references.join(" ")} ${platform} ${policy}`);
    const { images, failed } = await this.#cache.prefetch(references, { platform, pullPolicy: policy });
    const expected = references.map((reference) => [
      reference,
      this.#model.pull(reference, platform, policy),
    ]);
    const found = [
      ...images.map(({ reference }) => [reference, undefined]),
      ...failed.map(({ reference, code }) => [reference, code]),
    ];
    this.#requireSame("result", found.sort(), expected.sort());
  }

  async seedStep(): Promise<void> {
    const platform = this.#platform();
    const overwrite = this.#random() < 0.5;
    const chosen = names.filter(() => this.#random() < 0.3);
    const entries = (chosen.length > 0 ? chosen : names.slice(0, 1)).map((name) => ({
      name: this.#registry.reference(name),
      image: this.#image(),
    }));
    this.#note(
      `seed ${entries.map(({ name, image }) => `${name}=${image.root.root.digest}`).join(" ")} ${platform} ${overwrite}`,
    );
    const layout = join(this.#directory, "layout");
    writeLayout(
      layout,
      entries.map(({ name, image }) => ({ name, root: image.root })),
    );
    const { failed } = await this.#cache.seed([layout], { platform, overwrite });
    rmSync(layout, { recursive: true });
    const expected = entries.flatMap(({ name, image }) => {
      const code = this.#model.seed(name, platform, image, overwrite);
      return code === undefined ? [] : [[name, code]];
    });
    this.#requireSame(
      "failed",
      failed.map(({ reference, code }) => [reference, code]).sort(),
      expected.sort(),
    );
  }

  /** A digest under a name that it may never have had. */
  async adoptStep(): Promise<void> {
    const image = this.#image();
    const [{ digest }, platform] = [image.root.root, this.#platform()];
    const reference = `${this.#registry.reference("c/adopted")}@${digest}`;
    this.#note(`adopt ${reference} ${platform}`);
    const code = await codeOf(() => this.#cache.pull(reference, { platform, pullPolicy: "Never" }));
    const meant = this.#model.meansHere(digest, platform, this.#pool);
    this.#requireSame("code", code, meant === undefined ? "NOT_CACHED" : undefined);
    if (meant !== undefined) this.#model.adopt(reference, platform, meant);
  }

  async inspectStep(): Promise<void> {
    const [reference, platform] = [this.#anyReference(), this.#platform()];
    this.#note(`inspect ${reference} ${platform}`);
    const held = this.#meant(reference, platform);
    const code = await codeOf(() => {
      const { rootDigest, manifestDigest } = this.#cache.inspect(reference, { platform });
      if (held === undefined) return;
      this.#requireSame(
        "inspect",
        [rootDigest, manifestDigest],
        [held.root.root.digest, held.on[platform]?.manifest],
      );
    });
    this.#requireSame("code", code, held === undefined ? "NOT_CACHED" : undefined);
  }

  async bytecodeStep(): Promise<void> {
    const [reference, platform] = [this.#anyReference(), this.#platform()];
    this.#note(`bytecode ${reference} ${platform}`);
    const held = this.#meant(reference, platform);
    const objects = held?.on[platform]?.objects ?? [];
    const object = this.#choice([...objects.map(({ path }) => path), undefined]) ?? objects[0]?.path;
    const code = await codeOf(() => {
      const { bytes } = this.#cache.bytecode(reference, { platform, object });
      const wanted = objects.find(({ path }) => path === object)?.bytes;
      if (wanted !== undefined) this.#requireSame("bytes", digestOf(bytes), digestOf(wanted));
    });
    this.#requireSame("code", code, held === undefined ? "NOT_CACHED" : undefined);
  }

  async removeStep(): Promise<void> {
    const reference = this.#anyReference();
    const platform = this.#choice([undefined, ...platforms]);
    this.#note(`remove ${reference} ${platform}`);
    const code = await codeOf(() => this.#cache.remove(reference, { platform }));
    this.#requireSame("code", code, this.#model.remove(reference, platform));
  }

  async pinStep(isPinned = true): Promise<void> {
    const reference = this.#anyReference();
    this.#note(`${isPinned ? "pin" : "unpin"} ${reference}`);
    const code = await codeOf(() => (isPinned ? this.#cache.pin(reference) : this.#cache.unpin(reference)));
    this.#requireSame("code", code, this.#model.pin(reference, isPinned));
  }

  unpinStep(): Promise<void> {
    return this.pinStep(false);
  }

  async reopenStep(): Promise<void> {
    this.#note("reopen");
    await this.#cache.close();
    this.#cache = await open(this.#directory);
  }

  /** One who only reads sees the same. */
  readerStep(): void {
    this.#note("reader");
    using reader = openReader({ directory: this.#cache.directory });
    const listed = reader.list().map(({ reference, platform }) => `${reference} ${platform}`);
    const expected = this.#model.list().map((row) => row.split(" ").slice(0, 2).join(" "));
    this.#requireSame("reader", listed.sort(), expected.sort());
  }

  /** Nothing that was let go of is left. */
  closureStep(): void {
    this.#note("closure");
    this.#requireSame("closure", checkClosure(this.#cache.directory), []);
  }

  /** A digest is answered under any name, so it may be here without a row of its own. */
  #meant(reference: string, platform: PlatformName): PooledImage | undefined {
    const [, digest] = reference.split("@");
    const held = this.#model.held(reference, platform);
    return held ?? (digest === undefined ? undefined : this.#model.meansHere(digest, platform, this.#pool));
  }

  #requireSame(what: string, found: unknown, expected: unknown): void {
    if (isDeepStrictEqual(found, expected)) return;
    throw new Error(`${what} is\n${JSON.stringify(found)}\nand should be\n${JSON.stringify(expected)}`);
  }

  #note(what: string): void {
    this.history.push(`${this.steps}: ${what}`);
    if (this.history.length > 30) this.history.shift();
  }

  #reference(): string {
    return this.#registry.reference(this.#choice(names));
  }

  #anyReference(): string {
    const held = this.#model.references();
    return held.length > 0 && this.#random() < 0.8 ? this.#choice(held) : this.#reference();
  }

  #image(): PooledImage {
    return this.#choice(this.#pool);
  }

  #platform(): PlatformName {
    return this.#random() < 0.7 ? "linux/amd64" : "linux/arm64";
  }

  #policy(): Policy {
    return this.#choice(["Always", "Always", "IfNotPresent", "Never"] as const);
  }

  #choice<T>(choices: readonly T[]): T {
    return choices[Math.floor(this.#random() * choices.length)] as T;
  }
}

function open(directory: string): Promise<BytecodeCache> {
  return openCache({ directory: join(directory, "cache"), limits: { retries: 0 } });
}

async function codeOf(work: () => unknown): Promise<string | undefined> {
  try {
    await work();
    return undefined;
  } catch (error) {
    if (error instanceof Error && error.name !== "BpfcacheError") throw error;
    return toBpfcacheError(error).code;
  }
}
