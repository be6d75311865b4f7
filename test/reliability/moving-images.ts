import { bytecodeImage, imageIndex, minimalBpfElf, type TestRoot } from "../support/image-builder.js";
import type { TestRegistry } from "../support/test-registry.js";

/** Names `count` images in the registry, each with the tag v1; `move` lets every tag mean something else. */
export class MovingImages {
  readonly references: readonly string[];
  readonly #registry: TestRegistry;
  readonly #made = new Map<number, readonly TestRoot[]>();
  #generation = 0;

  constructor(registry: TestRegistry, count: number) {
    this.#registry = registry;
    this.references = Array.from({ length: count }, (_, index) => registry.reference(nameOf(index)));
    this.#publish();
  }

  /** Each reference with the root digest it has now. */
  get roots(): ReadonlyMap<string, string> {
    const images = this.#images();
    return new Map(this.references.map((reference, index) => [reference, images[index]?.root.digest ?? ""]));
  }

  /** All tags go on to the next of three generations; the fourth move brings the first ones back. */
  move(): void {
    this.#generation = (this.#generation + 1) % 3;
    this.#publish();
  }

  #publish(): void {
    for (const [index, image] of this.#images().entries()) this.#registry.add(nameOf(index), image);
  }

  #images(): readonly TestRoot[] {
    const generation = this.#generation;
    const made = this.#made.get(generation) ?? this.references.map((_, index) => imageOf(index, generation));
    this.#made.set(generation, made);
    return made;
  }
}

function nameOf(index: number): string {
  return `kill/image-${String(index).padStart(2, "0")}:v1`;
}

/** Of every four: one behind an index, one that is the same under another name, one of two objects, one plain and big. */
export function imageOf(index: number, generation: number): TestRoot {
  const kind = index % 4;
  const same = kind === 1 ? index - 1 : index;
  const objects = [objectOf(`program_${same}_${generation}`, 8 * 1024 * (1 + (index % 3)))];
  // What generations have in common must outlive the move of the tags.
  if (kind === 2) objects.push(objectOf("common", 16 * 1024));
  if (kind === 3) return bytecodeImage({ objects: [objectOf(`big_${index}_${generation}`, 128 * 1024)] });
  const image = bytecodeImage({ objects });
  if (kind !== 0) return image;
  const other = bytecodeImage({ objects, platform: "linux/arm64" });
  return imageIndex([{ image }, { image: other }]);
}

function objectOf(program: string, size: number): { path: string; bytes: Buffer } {
  const filling = Buffer.alloc(size, `${program} `);
  const bytes = minimalBpfElf({
    programs: [{ name: program }],
    maps: [{ name: `${program}_map` }],
    sections: [{ name: ".rodata", bytes: filling }],
  });
  return { path: `${program}.o`, bytes };
}
