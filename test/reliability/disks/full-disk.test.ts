import { rmSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bytecodeImage, minimalBpfElf } from "../../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../../support/test-registry.js";
import { isAfterMessage, messageBytes, Shim } from "../faults/shim.js";
import { report } from "../figures.js";
import { readInFreshProcess, unsound } from "../judge.js";
import { Conversation, randomFrom } from "../processes.js";
import { Disk, requireDisks } from "./disk.js";

/** More than the largest disk has room for, together. */
const imageCount = 110;
const objectBytes = 90_000;
const cases = (["tmpfs", "ext4"] as const).flatMap((type) =>
  [4, 8, 16].map((megabytes) => ({ type, megabytes })),
);

interface Prefetched {
  readonly images: readonly string[];
  readonly codes: readonly string[];
}

const missing = requireDisks();

describe.skipIf(missing)(`a disk that prefetch fills${missing ?? ""}`, () => {
  let registry: TestRegistry;
  let references: readonly string[];
  const figures: string[] = [];
  let shim: Shim;
  let crashes = 0;

  beforeAll(async () => {
    shim = new Shim();
    registry = await startTestRegistry();
    references = Array.from({ length: imageCount }, (_, index) =>
      registry.reference(`disk/image-${index}:v1`),
    );
    for (let index = 0; index < imageCount; index++) registry.add(`disk/image-${index}:v1`, imageOf(index));
  });

  afterAll(async () => {
    await registry.close();
    shim[Symbol.dispose]();
    report("7 full disks", `${figures.join("; ")}; ${crashes} known crashes of lmdb-js`);
  });

  it.each(cases)(
    "can be read while it is full, and goes on when there is room: $type, $megabytes MiB",
    async ({ type, megabytes }) => {
      for (const leastBytes of [0, messageBytes]) {
        using disk = new Disk(type, megabytes);
        const directory = `${disk.path}/cache`;
        try {
          figures.push(`${type} ${megabytes} MiB: ${await fillAndGoOn(disk, megabytes, leastBytes)}`);
          return;
        } catch (error) {
          if (leastBytes > 0 || !hasCrashed(error)) throw error;
          crashes++;
          expect(unsound(directory, await readInFreshProcess(directory))).toEqual([]);
        }
      }
    },
    120_000,
  );

  async function fillAndGoOn(disk: Disk, megabytes: number, leastBytes: number): Promise<string> {
    const directory = `${disk.path}/cache`;
    const ballast = `${disk.path}/ballast`;
    writeFileSync(ballast, Buffer.alloc((megabytes / 4) * 1024 ** 2));

    const spare = `${disk.path}/spare`;
    writeFileSync(spare, Buffer.alloc(128 * 1024));

    const { environment } = shim.strike(directory, 0, "kill", leastBytes);
    const variables = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
    await using filler = new Conversation("disk-filler.js", [directory], ["env", ...variables]);
    await filler.next();
    const prefetch = (wanted: readonly string[]): Promise<Prefetched> => filler.ask({ prefetch: wanted });
    const unreadable = async (wanted: readonly string[]): Promise<readonly string[]> =>
      (await filler.ask<{ complaints: string[] }>({ read: wanted })).complaints;

    const { images: before, codes } = await prefetch(references);
    expect(codes).toEqual(["CACHE_FULL"]);
    expect(before.length).toBeGreaterThan(0);
    expect(before.length).toBeLessThan(imageCount);

    // Full, for the process that filled it and for one that comes now.
    expect(await unreadable(before)).toEqual([]);
    const contents = await readInFreshProcess(directory);
    expect(unsound(directory, contents)).toEqual([]);
    expect(contents.images.map(({ reference }) => reference)).toEqual(expect.arrayContaining([...before]));
    expect((await prefetch(references)).codes).toEqual(["CACHE_FULL"]);

    rmSync(ballast);
    const missing = references.filter((reference) => !before.includes(reference));
    const { images: later } = await prefetch(missing);
    expect(later.length).toBeGreaterThan(0);
    expect(await unreadable([...before, ...later])).toEqual([]);

    // Full again. A removal needs a few pages too, and is refused as a whole when there are none; with a little room
    // it goes through. What images leave behind makes room for others, though not always all of it: a layer needs
    // pages that lie side by side.
    const candidates = before.slice(0, Math.ceil(before.length / 2));
    const removed: string[] = [];
    let refused = 0;
    const remove = async (reference: string): Promise<void> => {
      const { code } = await filler.ask<{ code: string | null }>({ remove: reference });
      expect([null, "CACHE_FULL"]).toContain(code);
      if (code === null) removed.push(reference);
      else refused++;
    };
    for (const reference of candidates) await remove(reference);
    rmSync(spare);
    for (const reference of candidates) if (!removed.includes(reference)) await remove(reference);
    expect(removed.length).toBeGreaterThan(0);
    const { images: again } = await prefetch(removed);
    expect(again.length).toBeGreaterThan(0);

    const end = await readInFreshProcess(directory);
    expect(unsound(directory, end)).toEqual([]);
    const held = [...before.filter((reference) => !removed.includes(reference)), ...later, ...again];
    expect(end.images.map(({ reference }) => reference)).toEqual(held.sort());
    return (
      `${before.length} images until full, ${later.length} more with a quarter freed, ` +
      `${again.length} in the place of ${removed.length} removed (${refused} removals refused)`
    );
  }
});

function hasCrashed(error: unknown): boolean {
  return (
    error instanceof Error &&
    /^the process ended with SIG/.test(error.message) &&
    isAfterMessage(error.message)
  );
}

/** One whose layer is as large as its object: random bytes cannot be compressed. */
function imageOf(index: number): ReturnType<typeof bytecodeImage> {
  const random = randomFrom(index);
  const filling = Buffer.from(Array.from({ length: objectBytes }, () => random() * 256));
  const bytes = minimalBpfElf({ sections: [{ name: ".rodata", bytes: filling }] });
  return bytecodeImage({ objects: [{ path: `${index}.o`, bytes }] });
}
