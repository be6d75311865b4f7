import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { beforeAll, describe, expect, it } from "vitest";
import { startTestRegistry } from "../support/test-registry.js";
import { checkClosure } from "./check-closure.js";
import { report } from "./figures.js";
import { type Contents, readInFreshProcess } from "./judge.js";
import { MovingImages } from "./moving-images.js";
import { mainProgram, randomFrom, TemporaryDirectory } from "./processes.js";
import { seed, times } from "./soak.js";

const kills = times(54, 200);
const imagesPerRun = 20;
const platform = "linux/amd64";

/** What a fresh process found after one kill. */
interface Aftermath {
  /** Milliseconds from the start of the process, and how many images it had said to be published. */
  readonly moment: string;
  readonly published: number;
  /** Nothing, or why a fresh process could not read the cache. */
  readonly unreadable: string[];
  /** Objects whose bytes are not those named. */
  readonly wrongBytes: string[];
  /** Images that were acknowledged, in this run or before, and are not there. */
  readonly lost: string[];
  readonly faults: string[];
}

describe("a prefetch that is killed by SIGKILL", () => {
  let aftermaths: readonly Aftermath[] = [];
  let isWholeAfterwards = false;

  beforeAll(
    async () => {
      const started = Date.now();
      const random = randomFrom(seed);
      const window = await measureRun();
      const [fresh, reused] = await Promise.all([
        killInFreshDirectories(kills / 2, window, random),
        killInOneDirectory(kills / 2, window, random),
      ]);
      aftermaths = [...fresh, ...reused.aftermaths];
      isWholeAfterwards = reused.isWholeAfterwards;
      const midway = aftermaths.filter(({ published }) => published > 0 && published < imagesPerRun).length;
      const acknowledged = aftermaths.reduce((sum, { published }) => sum + published, 0);
      report(
        "1 SIGKILL of prefetch",
        `seed ${seed}: ${aftermaths.length} kills over ${Math.round(window.wholeMs)} ms, ${midway} of them between the first ` +
          `and the last publication; ${acknowledged} images acknowledged; ${Math.round((Date.now() - started) / 1000)} s`,
      );
    },
    times(180_000, 7_200_000),
  );

  it("was killed at many moments, some of them between the first and the last publication", () => {
    expect(aftermaths).toHaveLength(kills);
    const midway = aftermaths.filter(({ published }) => published > 0 && published < imagesPerRun);
    expect(midway.length).toBeGreaterThan(kills / 10);
  });

  it("leaves a database that a fresh process opens", () => {
    expect(complaints(({ unreadable }) => unreadable)).toEqual([]);
  });

  it("leaves no listed image that reads back with another digest", () => {
    expect(complaints(({ wrongBytes }) => wrongBytes)).toEqual([]);
  });

  it("loses nothing that it had acknowledged", () => {
    expect(complaints(({ lost }) => lost)).toEqual([]);
  });

  it("leaves everything that an image needs, and nothing that no image needs", () => {
    expect(complaints(({ faults }) => faults)).toEqual([]);
  });

  it("lets the next prefetch finish what it began", () => {
    expect(isWholeAfterwards).toBe(true);
  });

  function complaints(of: (aftermath: Aftermath) => readonly string[]): string[] {
    return aftermaths.flatMap((aftermath) =>
      of(aftermath).map((what) => `seed ${seed}, ${aftermath.moment}: ${what}`),
    );
  }
});

/** When things happen in a run that nobody kills, in milliseconds from the start of its process. */
interface RunWindow {
  readonly firstPublishedMs: number;
  readonly lastPublishedMs: number;
  readonly wholeMs: number;
}

/** Two runs at a time, as the kills will be: on two processors one alone would be much faster. */
async function measureRun(): Promise<RunWindow> {
  await using registry = await startTestRegistry();
  const images = new MovingImages(registry, imagesPerRun);
  const measure = async (): Promise<RunWindow> => {
    using directory = new TemporaryDirectory();
    const started = performance.now();
    const times: number[] = [];
    const child = startPrefetch(directory.path, images.references, () =>
      times.push(performance.now() - started),
    );
    const [status] = await once(child, "close");
    if (status !== 0 || times.length !== imagesPerRun)
      throw new Error(`a prefetch that nobody killed ended with ${status} after ${times.length} images`);
    return {
      firstPublishedMs: times[0] ?? 0,
      lastPublishedMs: times.at(-1) ?? 0,
      wholeMs: performance.now() - started,
    };
  };
  const [window] = await Promise.all([measure(), measure()]);
  return window;
}

async function killInFreshDirectories(
  count: number,
  window: RunWindow,
  random: () => number,
): Promise<Aftermath[]> {
  await using registry = await startTestRegistry();
  const images = new MovingImages(registry, imagesPerRun);
  const aftermaths: Aftermath[] = [];
  while (aftermaths.length < count) {
    using directory = new TemporaryDirectory();
    const killed = await killOnce(directory.path, images.references, window, random);
    if (killed === undefined) continue;
    const contents = await readInFreshProcess(directory.path);
    aftermaths.push(inspect(directory.path, killed, contents, images.roots, new Map()));
  }
  return aftermaths;
}

/** Every tag moves before each run, so that every publication also lets go of the image that was there. */
async function killInOneDirectory(
  count: number,
  window: RunWindow,
  random: () => number,
): Promise<{ aftermaths: Aftermath[]; isWholeAfterwards: boolean }> {
  await using registry = await startTestRegistry();
  using directory = new TemporaryDirectory();
  const images = new MovingImages(registry, imagesPerRun);
  const aftermaths: Aftermath[] = [];
  let before = new Map<string, string>();
  while (aftermaths.length < count) {
    images.move();
    const killed = await killOnce(directory.path, images.references, window, random);
    const contents = await readInFreshProcess(directory.path);
    if (killed !== undefined)
      aftermaths.push(inspect(directory.path, killed, contents, images.roots, before));
    before = rootsIn(contents);
  }
  const isWhole = await runWhole(directory.path, images);
  return { aftermaths, isWholeAfterwards: isWhole && checkClosure(directory.path).length === 0 };
}

async function runWhole(directory: string, images: MovingImages): Promise<boolean> {
  const child = startPrefetch(directory, images.references, () => {});
  const [status] = await once(child, "close");
  const found = rootsIn(await readInFreshProcess(directory));
  return status === 0 && [...images.roots].every(([reference, root]) => found.get(reference) === root);
}

interface Killed {
  readonly afterMs: number;
  /** Root digests by reference, as the process said them before it died. */
  readonly acknowledged: ReadonlyMap<string, string>;
}

/**
 * Kills a prefetch at a random moment: half of them anywhere in its life, from before Node has started, and half
 * while it publishes. Undefined when it was done before the moment came.
 */
async function killOnce(
  directory: string,
  references: readonly string[],
  window: RunWindow,
  random: () => number,
): Promise<Killed | undefined> {
  const { firstPublishedMs, lastPublishedMs, wholeMs } = window;
  const isAnywhere = random() < 0.5;
  const delay = random() * (isAnywhere ? wholeMs : 1.2 * (lastPublishedMs - firstPublishedMs));
  const started = performance.now();
  let afterMs = 0;
  let timer: NodeJS.Timeout | undefined;
  const acknowledged = new Map<string, string>();
  const child = startPrefetch(directory, references, (reference, digest) => {
    acknowledged.set(reference, digest);
    if (!isAnywhere && timer === undefined) armed();
  });
  const armed = (): void => {
    timer = setTimeout(() => {
      afterMs = performance.now() - started;
      child.kill("SIGKILL");
    }, delay);
  };
  if (isAnywhere) armed();
  const [, signal] = await once(child, "close");
  clearTimeout(timer);
  return signal === "SIGKILL" ? { afterMs, acknowledged } : undefined;
}

function startPrefetch(
  directory: string,
  references: readonly string[],
  onPublished: (reference: string, digest: string) => void,
): ChildProcess {
  const options = [
    "--cache-dir",
    directory,
    "--platform",
    platform,
    "--pull-policy",
    "Always",
    "--progress",
    "json",
  ];
  const child = spawn(process.execPath, [mainProgram, "prefetch", ...options, ...references], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  createInterface({ input: child.stderr }).on("line", (line) => {
    // What the kill cut short was never said; what is no event is a complaint, and shows in how the process ends.
    if (!/^\{"v":1,.*\}$/.test(line)) return;
    const { event, reference, digest } = JSON.parse(line);
    if (event === "published") onPublished(reference, digest);
  });
  return child;
}

function rootsIn({ images }: Pick<Contents, "images">): Map<string, string> {
  return new Map(images.map(({ reference, rootDigest }) => [reference, rootDigest]));
}

function inspect(
  directory: string,
  { afterMs, acknowledged }: Killed,
  { images, writable, complaint }: Contents,
  roots: ReadonlyMap<string, string>,
  before: ReadonlyMap<string, string>,
): Aftermath {
  const unreadable = complaint === undefined ? [] : [complaint];
  if (complaint === undefined && writable.length !== images.length)
    unreadable.push(`a reader lists ${images.length} images, a writer ${writable.length}`);
  const found = rootsIn({ images });
  const lost = [...acknowledged]
    .filter(([reference, digest]) => found.get(reference) !== digest)
    .map(([reference]) => `${reference} was acknowledged in this run`);
  for (const [reference, root] of before) {
    const now = found.get(reference);
    if (now !== root && now !== roots.get(reference))
      lost.push(`${reference} had been there before, now it is ${now}`);
  }
  return {
    moment: `killed after ${Math.round(afterMs)} ms`,
    published: acknowledged.size,
    unreadable,
    wrongBytes: images.flatMap(({ reference, objects }) =>
      objects.filter((object) => object.named !== object.found).map(({ named }) => `${reference}: ${named}`),
    ),
    lost,
    faults: complaint === undefined ? checkClosure(directory) : [],
  };
}
