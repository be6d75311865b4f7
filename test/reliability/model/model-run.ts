import { ContentSteps } from "./content-steps.js";
import { line } from "./model.js";
import { SpaceSteps } from "./space-steps.js";
import { Stage } from "./stage.js";

interface Step {
  /** How often it is taken, in comparison with the others. */
  readonly weight: number;
  readonly take: () => unknown;
}

/** A verb that is added to the cache gets its line here and a method in one of the two. */
function stepsOn(stage: Stage): Readonly<Record<string, Step>> {
  const [content, space] = [new ContentSteps(stage), new SpaceSteps(stage)];
  return {
    pull: { weight: 12, take: () => content.pull() },
    retag: { weight: 8, take: () => content.retag() },
    prefetch: { weight: 6, take: () => content.prefetch() },
    seed: { weight: 8, take: () => content.seed() },
    adopt: { weight: 6, take: () => content.adopt() },
    inspect: { weight: 6, take: () => content.inspect() },
    bytecode: { weight: 8, take: () => content.bytecode() },
    remove: { weight: 6, take: () => content.remove() },
    pin: { weight: 3, take: () => content.pin(true) },
    unpin: { weight: 3, take: () => content.pin(false) },
    reopen: { weight: 2, take: () => content.reopen() },
    reader: { weight: 2, take: () => content.reader() },
    closure: { weight: 3, take: () => content.closure() },
    prune: { weight: 4, take: () => space.prune() },
    "drop layers": { weight: 3, take: () => space.dropLayers() },
    "restore layers": { weight: 4, take: () => space.restoreLayers() },
    "pull within a budget": { weight: 3, take: () => space.pullWithinBudget() },
    usage: { weight: 3, take: () => space.usage() },
    export: { weight: 2, take: () => space.export() },
    scrub: { weight: 2, take: () => space.scrub() },
    compact: { weight: 2, take: () => space.compact() },
  };
}

/** A cache and its model, which take the same steps, chosen by a seed. Each step throws when they part. */
export class ModelRun {
  readonly counts = new Map<string, number>();
  readonly kinds: readonly string[];
  readonly #stage: Stage;
  readonly #steps: Readonly<Record<string, Step>>;
  readonly #lots: readonly string[];

  private constructor(stage: Stage) {
    this.#stage = stage;
    this.#steps = stepsOn(stage);
    this.kinds = Object.keys(this.#steps);
    this.#lots = Object.entries(this.#steps).flatMap(([kind, { weight }]) =>
      Array<string>(weight).fill(kind),
    );
  }

  static async start(directory: string, seed: number): Promise<ModelRun> {
    return new ModelRun(await Stage.start(directory, seed));
  }

  close(): Promise<void> {
    return this.#stage.close();
  }

  get steps(): number {
    return this.#stage.steps;
  }

  get history(): readonly string[] {
    return this.#stage.history;
  }

  get tally(): string {
    return [...this.counts].map(([kind, count]) => `${kind} ${count}`).join(", ");
  }

  async step(): Promise<void> {
    const stage = this.#stage;
    const kind = stage.choice(this.#lots);
    stage.steps++;
    this.counts.set(kind, (this.counts.get(kind) ?? 0) + 1);
    await this.#steps[kind]?.take();
    const listed = stage.cache
      .list()
      .map((image) =>
        line(image.reference, image.platform, { ...image, objects: image.objects.map(({ name }) => name) }),
      );
    stage.requireSame("list", listed.sort(), stage.model.list());
  }
}
