import { describe, expect, it } from "vitest";
import { BpfcacheError } from "../../src/core/errors.js";
import { openReader } from "../../src/reader.js";
import { startTestRegistry } from "../support/test-registry.js";
import { checkClosure } from "./check-closure.js";
import { report } from "./figures.js";
import { MovingImages } from "./moving-images.js";
import { Conversation, randomFrom, TemporaryDirectory } from "./processes.js";
import { seed, times } from "./soak.js";

const rounds = times(50, 500);
const pullers = 4;
const pullsEach = 2;
const platform = "linux/amd64";

const ways = [
  { maxBytes: 0 },
  { maxBytes: 400_000 },
  { keepLast: 0 },
  { olderThanMs: 0 },
  { dropLayers: true },
  { unreferenced: true },
];

describe("prune with eight pulls in flight, in processes of their own", () => {
  it(
    `in ${rounds} rounds leaves no image listed that cannot be read`,
    async () => {
      await using registry = await startTestRegistry();
      using directory = new TemporaryDirectory();
      const images = new MovingImages(registry, pullers * pullsEach + 4);
      const random = randomFrom(seed);
      const workers = await startWorkers(directory.path, pullers + 1);
      const [pruner, ...pulling] = workers;
      if (pruner === undefined) throw new Error("no worker was started");
      const complaints: string[] = [];
      let [removed, checks] = [0, 0];
      try {
        for (let round = 1; round <= rounds && complaints.length === 0; round++) {
          if (round % 3 === 0) images.move();
          const wanted = shuffled(images.references, random);
          let isOver = false;
          const pulls = Promise.all(
            pulling.map((worker, index) =>
              worker.ask<{ failed: string[] }>({
                pull: wanted.slice(index * pullsEach, (index + 1) * pullsEach),
              }),
            ),
          ).finally(() => {
            isOver = true;
          });
          do {
            const prune = ways[Math.floor(random() * ways.length)];
            removed += (await pruner.ask<{ removed: number }>({ prune })).removed;
            checks++;
            complaints.push(
              ...checkClosure(directory.path, { mayLackLayers: true }),
              ...unreadable(directory.path),
            );
          } while (!isOver);
          complaints.push(
            ...(await pulls).flatMap(({ failed }) => failed).filter((failure) => !isOvertaken(failure)),
          );
          complaints.push(...checkClosure(directory.path, { mayLackLayers: true }));
          if (complaints.length > 0) complaints.unshift(`seed ${seed}, round ${round}`);
        }
      } finally {
        await Promise.all(workers.map((worker) => worker.end()));
      }
      report(
        "10 prune beside pulls",
        `seed ${seed}: ${rounds} rounds, ${checks} prunes with a check each, ${removed} removals; ${complaints.length} complaints`,
      );
      expect(complaints).toEqual([]);
      expect(removed).toBeGreaterThan(rounds);
    },
    rounds * 5_000,
  );
});

async function startWorkers(directory: string, count: number): Promise<Conversation[]> {
  const workers: Conversation[] = [];
  // One after the other: the first makes the cache.
  for (let index = 0; index < count; index++) {
    const worker = new Conversation("worker.js", [directory]);
    workers.push(worker);
    await worker.next();
  }
  return workers;
}

/** Images of one list that cannot be read although they are on the next list too, as the same image. */
function unreadable(directory: string): string[] {
  const reader = openReader({ directory });
  try {
    return reader.list().flatMap(({ reference, objects, rootDigest }) =>
      objects.flatMap(({ name }) => {
        try {
          reader.bytecode(reference, { platform, object: name });
          return [];
        } catch (error) {
          const isListed = reader
            .list()
            .some((image) => image.reference === reference && image.rootDigest === rootDigest);
          const isGone = error instanceof BpfcacheError && error.code === "NOT_CACHED" && !isListed;
          return isGone ? [] : [`${reference} cannot be read: ${error}`];
        }
      }),
    );
  } finally {
    reader.close();
  }
}

/** What was pulled may be pruned before the pull has told of it, or again and again before it could publish. */
function isOvertaken(failure: string): boolean {
  return / (NOT_CACHED|CACHE_BUSY) /.test(failure);
}

function shuffled(references: readonly string[], random: () => number): string[] {
  return references
    .map((reference) => ({ reference, order: random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ reference }) => reference);
}
