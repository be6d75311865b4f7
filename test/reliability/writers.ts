import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFileSync } from "node:fs";
import { text } from "node:stream/consumers";
import { setTimeout as sleep } from "node:timers/promises";
import { writeLayout } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { type Contents, linesOf } from "./judge.js";
import { imageOf } from "./moving-images.js";
import { fixture, TemporaryDirectory } from "./processes.js";

const ownImages = 4;

/**
 * Processes that write to one cache at once, each changing references of its own, with content that is everybody's,
 * and some references that are everybody's too. What each said to have done is kept outside the cache.
 */
export class Writers {
  readonly #registry: TestRegistry;
  readonly #directory: TemporaryDirectory;
  readonly #seats: readonly Seat[];
  /** How many changes were acknowledged in all. */
  acknowledged = 0;

  private constructor(registry: TestRegistry, directory: TemporaryDirectory, count: number) {
    this.#registry = registry;
    this.#directory = directory;
    const others = [0, 1].map((index) => registry.reference(nameOf("shared", index)));
    for (const index of [0, 1]) registry.add(nameOf("shared", index), imageOf(index, 0));
    this.#seats = Array.from({ length: count }, (_, index) => this.#seat(`writer-${index}`, others));
  }

  static async start(count: number): Promise<Writers> {
    return new Writers(await startTestRegistry(), new TemporaryDirectory(), count);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#seats.map((seat) => seat.kill()));
    this.#directory[Symbol.dispose]();
    await this.#registry.close();
  }

  get count(): number {
    return this.#seats.length;
  }

  /** Starts writer number `index` and waits until it has begun to change something. */
  start(index: number, directory: string, seed: number): Promise<void> {
    return this.#at(index).start(directory, seed);
  }

  /** SIGKILL. Returns why it had ended before, if it had. */
  kill(index: number): Promise<string[]> {
    return this.#at(index).kill();
  }

  /**
   * What of the contents contradicts what was acknowledged before all writers were killed. What is there becomes what is
   * expected of the next round.
   */
  contradictions(contents: Contents): string[] {
    const found = new Map(
      contents.images.map(({ reference, rootDigest, pinned }) => [
        reference,
        pinned ? `${rootDigest} pinned` : rootDigest,
      ]),
    );
    return this.#seats.flatMap((seat) => {
      const { contradictions, acknowledged } = seat.compare(found);
      this.acknowledged += acknowledged;
      return contradictions;
    });
  }

  #at(index: number): Seat {
    const seat = this.#seats[index];
    if (seat === undefined) throw new Error(`there is no writer ${index}`);
    return seat;
  }

  #seat(name: string, others: readonly string[]): Seat {
    const indexes = Array.from({ length: ownImages }, (_, index) => index);
    const references = indexes.map((index) => this.#registry.reference(nameOf(name, index)));
    const images = (generation: number) => indexes.map((index) => imageOf(index, generation));
    const layouts = [0, 1].map((generation) => {
      const path = this.#directory.join(`${name}-${generation}`);
      const entries = images(generation).map((root, index) => ({ name: references[index] ?? "", root }));
      writeLayout(path, entries);
      return path;
    });
    for (const [index, image] of images(2).entries()) this.#registry.add(nameOf(name, index), image);
    const roots = [0, 1, 2].map((generation) =>
      Object.fromEntries(images(generation).map(({ root }, index) => [references[index], root.digest])),
    );
    const file = this.#directory.join(`${name}.json`);
    writeFileSync(file, JSON.stringify({ references, layouts, roots, others }));
    return new Seat(references, file, this.#directory.join(`${name}.log`));
  }
}

function nameOf(writer: string, index: number): string {
  return `${writer}/image-${index}:v1`;
}

/** One writer after the other, with the same references. */
class Seat {
  readonly #references: readonly string[];
  readonly #file: string;
  readonly #log: string;
  #child: ChildProcess | undefined;
  #complaint: Promise<string> = Promise.resolve("");
  #judged = 0;
  /** What a fresh process found after the last round. */
  #before = new Map<string, string | undefined>();

  constructor(references: readonly string[], file: string, log: string) {
    this.#references = references;
    this.#file = file;
    this.#log = log;
  }

  async start(directory: string, seed: number): Promise<void> {
    const lines = linesOf(this.#log).length;
    const child = spawn(
      process.execPath,
      [fixture("random-writer.js"), directory, this.#file, this.#log, String(seed)],
      { stdio: ["ignore", "ignore", "pipe"] },
    );
    this.#child = child;
    this.#complaint = text(child.stderr);
    while (linesOf(this.#log).length === lines && child.exitCode === null && child.signalCode === null)
      await sleep(5);
  }

  async kill(): Promise<string[]> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined) return [];
    if (child.exitCode === null && child.signalCode === null) {
      const closed = once(child, "close");
      child.kill("SIGKILL");
      await closed;
    }
    if (child.signalCode === "SIGKILL") return [];
    return [`a writer ended with ${child.signalCode ?? child.exitCode}: ${await this.#complaint}`];
  }

  compare(found: ReadonlyMap<string, string>): { contradictions: string[]; acknowledged: number } {
    const lines = linesOf(this.#log);
    const possible = new Map(this.#references.map((reference) => [reference, [this.#before.get(reference)]]));
    let become: Readonly<Record<string, string | null>> = {};
    let acknowledged = 0;
    for (const line of lines.slice(this.#judged).map((text) => JSON.parse(text))) {
      if ("become" in line) {
        become = line.become;
        for (const [reference, state] of Object.entries(become))
          possible.get(reference)?.push(state ?? undefined);
      } else {
        acknowledged++;
        possible.set(line.done, [become[line.done] ?? undefined]);
      }
    }
    this.#judged = lines.length;
    const contradictions = this.#references
      .filter((reference) => !possible.get(reference)?.includes(found.get(reference)))
      .map(
        (reference) =>
          `lost: ${reference} is ${found.get(reference)}; it can only be ${possible.get(reference)?.join(" or ")}`,
      );
    this.#before = new Map(this.#references.map((reference) => [reference, found.get(reference)]));
    return { contradictions, acknowledged };
  }
}
