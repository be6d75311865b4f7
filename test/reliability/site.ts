import { writeFileSync } from "node:fs";
import { writeLayout } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import type { Site } from "./fixtures/operations.js";
import { imageOf } from "./moving-images.js";
import { TemporaryDirectory } from "./processes.js";

/** The registry and the layouts that the operations of the table take their images from, see fixtures/operations.js. */
export class OperationSite {
  readonly file: string;
  readonly #directory = new TemporaryDirectory();
  readonly #registry: TestRegistry;

  private constructor(registry: TestRegistry) {
    this.#registry = registry;
    const held = [0, 1, 2].map((index) => this.#name(index));
    const absent = [3, 4, 5].map((index) => this.#name(index));
    const layouts = {
      old: this.#layout("old", [0, 1, 2], 0),
      overwriting: this.#layout("overwriting", [0, 1, 2], 1),
      more: this.#layout("more", [3, 4, 5], 1),
    };
    // What the layouts have is to be had by its digest, too.
    for (const index of [0, 1, 2]) registry.add(nameOf(index), imageOf(index, 0));
    for (const index of [0, 1, 2, 3, 4, 5]) registry.add(nameOf(index), imageOf(index, 2));
    const site: Site = { held, absent, layouts, heldDigest: imageOf(0, 0).root.digest };
    this.file = this.#directory.join("site.json");
    writeFileSync(this.file, JSON.stringify(site));
  }

  static async start(): Promise<OperationSite> {
    return new OperationSite(await startTestRegistry());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#directory[Symbol.dispose]();
    await this.#registry.close();
  }

  #name(index: number): string {
    return this.#registry.reference(nameOf(index));
  }

  #layout(name: string, indexes: readonly number[], generation: number): string {
    const path = this.#directory.join(name);
    writeLayout(
      path,
      indexes.map((index) => ({ name: this.#name(index), root: imageOf(index, generation) })),
    );
    return path;
  }
}

function nameOf(index: number): string {
  return `site/image-${index}:v1`;
}
