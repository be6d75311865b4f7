import { beforeAll, describe, expect, it } from "vitest";
import { rowsIn } from "../pull/support.js";
import { bytecodeImage, imageIndex, minimalBpfElf, type TestImage } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { checkClosure } from "./check-closure.js";
import { report } from "./figures.js";
import { Conversation, TemporaryDirectory } from "./processes.js";

const processes = 8;
const pullsEach = 500;
const images = 50;
const blobDelayMs = 50;

interface Choice {
  readonly reference: string;
  readonly platform: string;
}

interface Outcome {
  readonly fetched: number;
  readonly waited: number;
  readonly slowestFetchMs: number;
  readonly slowestWaitMs: number;
  readonly failures: readonly string[];
}

describe(`${processes} processes that each pull ${pullsEach} times from ${images} images`, () => {
  let outcomes: readonly Outcome[] = [];
  /** Requests by digest, for manifests and blobs, whatever the repository. */
  const asked = new Map<string, number>();
  let named: ReadonlySet<string> = new Set();
  let faults: readonly string[] = [];
  let leasesLeft = 0;
  const slowest = (of: (outcome: Outcome) => number): number => Math.max(...outcomes.map(of));
  const total = (of: (outcome: Outcome) => number): number => outcomes.reduce((sum, one) => sum + of(one), 0);

  beforeAll(async () => {
    await using registry = await startTestRegistry();
    using directory = new TemporaryDirectory();
    const { choices, digests } = publishImages(registry);
    named = digests;
    // Long enough that processes meet.
    registry.break({ kind: "blob" }, { delayMs: blobDelayMs });
    const started = performance.now();
    outcomes = await pullEverywhere(directory.path, choices);
    for (const { kind, path } of registry.requests) {
      const digest = /sha256:[0-9a-f]+$/.exec(path)?.[0];
      if (digest !== undefined && (kind === "manifest" || kind === "blob"))
        asked.set(digest, (asked.get(digest) ?? 0) + 1);
    }
    faults = checkClosure(directory.path);
    leasesLeft = rowsIn(directory.path).leases ?? 0;
    report(
      "4 one download",
      `${processes} processes, ${total(({ fetched, waited }) => fetched + waited)} pulls, ${total(({ fetched }) => fetched)} of them ` +
        `fetched something: ${asked.size} digests, at most ${Math.max(...asked.values())} request each, ` +
        `${registry.requests.length} requests in all; slowest download ${Math.round(slowest(({ slowestFetchMs }) => slowestFetchMs))} ms, ` +
        `slowest wait ${Math.round(slowest(({ slowestWaitMs }) => slowestWaitMs))} ms; ${Math.round(performance.now() - started)} ms`,
    );
  }, 240_000);

  it("have all of them", () => {
    expect(outcomes.flatMap(({ failures }) => failures)).toEqual([]);
    expect(total(({ fetched, waited }) => fetched + waited)).toBe(processes * pullsEach);
  });

  it("fetch every digest once", () => {
    expect([...asked].filter(([, times]) => times !== 1)).toEqual([]);
    expect([...named].filter((digest) => !asked.has(digest))).toEqual([]);
  });

  it("wait no longer than the slowest download takes, and a second", () => {
    const slowestDownload = slowest(({ slowestFetchMs }) => slowestFetchMs);
    expect(slowest(({ slowestWaitMs }) => slowestWaitMs)).toBeLessThan(slowestDownload + 1000);
  });

  it("leave everything that an image needs, nothing that no image needs, and no lease", () => {
    expect(faults).toEqual([]);
    expect(leasesLeft).toBe(0);
  });
});

async function pullEverywhere(directory: string, choices: readonly Choice[]): Promise<readonly Outcome[]> {
  const args = [directory, String(pullsEach), JSON.stringify(choices)];
  const talks = Array.from({ length: processes }, () => new Conversation("pull-at-random.js", args));
  try {
    await Promise.all(talks.map((talk) => talk.next()));
    return await Promise.all(talks.map((talk) => talk.ask<Outcome>({})));
  } finally {
    await Promise.all(talks.map((talk) => talk.end()));
  }
}

/** What may be pulled, and the digests that somebody has to ask for then. */
function publishImages(registry: TestRegistry): {
  readonly choices: readonly Choice[];
  readonly digests: ReadonlySet<string>;
} {
  const choices: Choice[] = [];
  const digests = new Set<string>();
  const needs = ({ config, layers }: TestImage): void => {
    for (const { digest } of [config, ...layers]) digests.add(digest);
  };
  let previous = imageOf("first");
  for (let index = 0; index < images; index++) {
    const name = `many/image-${String(index).padStart(2, "0")}`;
    const [amd64, arm64] = ["linux/amd64", "linux/arm64"].map((platform) => imageOf(name, { platform }));
    if (amd64 === undefined || arm64 === undefined) continue;
    const kind = index % 5;
    if (kind === 0 || kind === 1) {
      // By tag and by digest; of the second kind both platforms have one layer.
      const other = kind === 0 ? arm64 : bytecodeImage({ layers: amd64.layers, platform: "linux/arm64" });
      const root = imageIndex([{ image: amd64 }, { image: other }]);
      registry.add(`${name}:v1`, root);
      for (const platform of ["linux/amd64", "linux/arm64"]) {
        const byDigest = kind === 1 && platform === "linux/arm64";
        const reference = registry.reference(byDigest ? `${name}@${root.root.digest}` : `${name}:v1`);
        choices.push({ reference, platform });
      }
      for (const image of [amd64, other]) {
        needs(image);
        digests.add(image.manifest.digest);
      }
    } else {
      // One of its own, then one with its layer in another repository, then the same image under another name.
      const image =
        kind === 2
          ? amd64
          : kind === 3
            ? bytecodeImage({ layers: previous.layers, labels: { name } })
            : previous;
      registry.add(`${name}:v1`, image);
      choices.push({ reference: registry.reference(`${name}:v1`), platform: "linux/amd64" });
      needs(image);
      previous = image;
    }
  }
  return { choices, digests };
}

function imageOf(name: string, options: { readonly platform?: string } = {}): TestImage {
  const program = `${name}_${options.platform ?? ""}`.replaceAll(/\W/g, "_");
  const bytes = minimalBpfElf({
    programs: [{ name: program }],
    sections: [{ name: ".rodata", bytes: Buffer.alloc(16 * 1024, `${program} `) }],
  });
  return bytecodeImage({ objects: [{ path: `${program}.o`, bytes }], labels: { name }, ...options });
}
