import { statSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parsePlatform } from "../../src/core/platform.js";
import { parseReference } from "../../src/core/reference.js";
import { budgetOf } from "../../src/store/budget.js";
import { contentBytes, countBytes, recountBytes } from "../../src/store/content-bytes.js";
import { Environment } from "../../src/store/environment.js";
import { Store } from "../../src/store/store.js";
import { rebuildUsageIndex } from "../../src/store/usage.js";
import { checkClosure } from "../reliability/check-closure.js";
import { TemporaryDirectory } from "../reliability/processes.js";
import { type PublicationOptions, publicationOf, referenceOf } from "./publications.js";

let directory: TemporaryDirectory;
let store: Store;

beforeEach(() => {
  directory = new TemporaryDirectory();
  store = Store.open({ directory: directory.join("cache") });
});

afterEach(() => {
  store.close();
  directory[Symbol.dispose]();
});

describe("usage", () => {
  it("counts shared content once in all, in each image that needs it, and as nobody's alone", () => {
    const shared = { word: "shared", bytes: 7_000 };
    store.publish(publicationOf({ name: "a:1", layers: [shared, { word: "a", bytes: 100 }] }));
    store.publish(publicationOf({ name: "b:1", layers: [shared, { word: "b", bytes: 200 }] }));
    const { bytes, uniqueBytes, images, limits } = store.usage();
    expect(bytes).toBe(7_000 + uniqueBytes);
    expect(images.map((image) => image.bytes - image.uniqueBytes)).toEqual([7_000, 7_000]);
    expect(uniqueBytes).toBe((images[0]?.uniqueBytes ?? 0) + (images[1]?.uniqueBytes ?? 0));
    expect(limits).toBeNull();
  });

  it("says what removing each image alone would free", () => {
    const index = { index: "an index" };
    const many: PublicationOptions[] = [
      { name: "a:1", layers: [{ word: "shared", bytes: 7_000 }] },
      { name: "b:1", layers: [{ word: "shared", bytes: 7_000 }], objects: [{ word: "b", bytes: 10 }] },
      { name: "c:1", ...index },
      {
        name: "c:2",
        ...index,
        layers: [{ word: "c:1", bytes: 600 }],
        objects: [{ word: "c:1 object", bytes: 1_000 }],
      },
      { name: "d:1" },
      { name: "d:1", platform: "linux/arm64" },
    ];
    for (const options of many) store.publish(publicationOf(options));
    for (const { reference, platform, uniqueBytes } of store.usage().images) {
      const before = store.usage().bytes;
      const { bytesFreed } = store.remove(parseReference(reference), parsePlatform(platform));
      expect([reference, bytesFreed, before - store.usage().bytes]).toEqual([
        reference,
        uniqueBytes,
        uniqueBytes,
      ]);
      for (const options of many) store.publish(publicationOf(options));
    }
  });

  it("shows the file, what of it is free, and the marks of the budget", () => {
    store.publish(publicationOf({ name: "a:1", layers: [{ word: "a", bytes: 1_000_000 }] }));
    const { fileBytes, freeBytes } = store.usage();
    expect(fileBytes).toBe(statSync(join(store.directory, "data.mdb")).size);
    expect(freeBytes).toBeLessThan(500_000);
    store.remove(parseReference(referenceOf("a:1")), undefined);
    expect(store.usage().freeBytes).toBeGreaterThan(1_000_000);
    expect(store.usage().freeBytes).toBeLessThan(store.usage().fileBytes);
    const limited = Store.open({ directory: store.directory, budget: budgetOf(1_000) });
    expect(limited.usage().limits).toEqual({ maxBytes: 1_000, highBytes: 900, lowBytes: 750 });
    limited.close();
  });
});

describe("the total and the order of use", () => {
  it("can be made anew from what is there", () => {
    for (const name of ["a:1", "b:1"]) store.publish(publicationOf({ name }));
    const environment = Environment.open({ directory: store.directory });
    environment.commit(() => {
      environment.tree("meta").remove(Buffer.from("contentBytes"));
      const [one, ...others] = environment.tree("usage").keys(Buffer.from("lru\0"));
      for (const key of others) environment.tree("usage").remove(key);
      environment.tree("usage").put(Buffer.concat([one ?? Buffer.of(), Buffer.of(7)]), Buffer.of(1));
    });
    expect(checkClosure(store.directory)).not.toEqual([]);
    environment.commit(() => {
      recountBytes(environment);
      rebuildUsageIndex(environment);
    });
    environment.close();
    expect(checkClosure(store.directory)).toEqual([]);
  });

  it("stay right through any sequence of publishing, using, pinning, removing and pruning", async () => {
    const environment = Environment.open({ directory: store.directory });
    const reference = fc.integer({ min: 0, max: 5 }).map((index) => `r${index % 2}:t${index}`);
    const filling = fc.record({ word: fc.constantFrom("x", "y", "z"), bytes: fc.constantFrom(100, 5_000) });
    const action = fc.oneof(
      {
        weight: 4,
        arbitrary: fc.tuple(fc.constant("publish" as const), reference, filling, filling, fc.boolean()),
      },
      { weight: 2, arbitrary: fc.tuple(fc.constant("use" as const), reference, fc.nat(10)) },
      fc.tuple(fc.constant("pin" as const), reference),
      fc.tuple(fc.constant("remove" as const), reference),
      fc.tuple(
        fc.constant("prune" as const),
        fc.oneof(
          fc.record({ maxBytes: fc.constantFrom(0, 6_000, 12_000) }),
          fc.record({ keepLast: fc.nat(2) }),
          fc.record({ dropLayers: fc.constant(true) }),
          fc.record({ olderThanMs: fc.constantFrom(0, 5 * 60_000) }),
          fc.record({ unreferenced: fc.constant(true) }),
        ),
        fc.boolean(),
      ),
    );
    const start = Date.now() - 3_600_000;
    await fc.assert(
      fc.asyncProperty(fc.array(action, { maxLength: 12 }), async (actions) => {
        for (const [step, [kind, target, ...rest]] of actions.entries()) {
          const now = start + step * 60_000;
          await ignoringAbsence(async () => {
            if (kind === "prune") await store.prune({ ...target, dryRun: rest[0] === true });
            else if (kind === "publish") {
              const [layer, object, hasIndex] = rest as [Filling, Filling, boolean];
              const objects = [{ ...object, word: `${object.word} object` }];
              const index = hasIndex ? { index: "an index" } : {};
              store.publish(
                publicationOf({ name: target, layers: [layer], objects, pulledAt: now, ...index }),
              );
            } else if (kind === "use") {
              const { manifestDigest } = store.inspect(
                parseReference(referenceOf(target)),
                parsePlatform("linux/amd64"),
              );
              store.noteUse(manifestDigest, now - Number(rest[0]) * 60_000);
            } else if (kind === "pin")
              store.pin(parseReference(referenceOf(target)), { owner: "", reason: "", pinnedAt: now });
            else store.remove(parseReference(referenceOf(target)), undefined);
          });
        }
        expect(environment.snapshot(() => contentBytes(environment))).toBe(
          environment.snapshot(() => countBytes(environment)),
        );
        expect(checkClosure(store.directory, { mayLackLayers: true })).toEqual([]);
      }),
      { numRuns: 60 },
    );
    environment.close();
  });
});

type Filling = { readonly word: string; readonly bytes: number };

async function ignoringAbsence(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    expect(error).toMatchObject({ code: "NOT_CACHED" });
  }
}
