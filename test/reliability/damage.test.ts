import { copyFileSync, mkdirSync, readFileSync, renameSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { digestOf } from "../../src/core/digest.js";
import { openCache } from "../../src/open-cache.js";
import { bytecodeImage, minimalBpfElf } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { checkClosure } from "./check-closure.js";
import { report } from "./figures.js";
import { type Ended, fixture, randomFrom, run, TemporaryDirectory } from "./processes.js";
import { seed, times } from "./soak.js";

const share = times(0.1, 1);
const pageBytes = 4096;
const atATime = 2;

type Random = () => number;

/** Each harms a data file in its own way. */
const harms: Record<
  string,
  { readonly times: number; readonly harm: (file: string, random: Random) => void }
> = {
  "a flipped bit": {
    times: 1_000 * share,
    harm: (file, random) =>
      rewrite(file, (bytes) => {
        const at = Math.floor(random() * bytes.length);
        bytes.writeUInt8(bytes.readUInt8(at) ^ (1 << Math.floor(random() * 8)), at);
      }),
  },
  "a zeroed page": {
    times: 200 * share,
    harm: (file, random) =>
      rewrite(file, (bytes) => {
        const page = 2 + Math.floor(random() * (bytes.length / pageBytes - 2));
        bytes.fill(0, page * pageBytes, (page + 1) * pageBytes);
      }),
  },
  "a truncated file": {
    times: 200 * share,
    harm: (file, random) => truncateSync(file, Math.floor(random() * readFileSync(file).length)),
  },
  "a damaged header": {
    times: 200 * share,
    harm: (file, random) =>
      rewrite(file, (bytes) => {
        const start = Math.floor(random() * 2) * pageBytes + Math.floor(random() * 160);
        for (let at = start; at < start + 1 + random() * 16; at++)
          bytes.writeUInt8(Math.floor(random() * 256), at);
      }),
  },
};

interface Read {
  readonly opened: true | string;
  readonly read: Record<string, string>;
  readonly listed: readonly string[];
}

interface Repaired {
  readonly scrub?: { readonly damaged: unknown[]; readonly repaired: unknown[] } | string;
  readonly read: Record<string, string>;
  readonly failed?: string;
}

/** What came of all cases of one kind. */
class Tally {
  readonly counts: Record<string, number> = {};
  readonly complaints: string[] = [];

  count(what: string): void {
    this.counts[what] = (this.counts[what] ?? 0) + 1;
  }
}

describe("a damaged data file", () => {
  const directory = new TemporaryDirectory();
  const known = new Map<string, string>();
  let registry: TestRegistry;
  let original: string;

  beforeAll(async () => {
    registry = await startTestRegistry();
    const random = randomFrom(1);
    for (let i = 0; i < 16; i++) {
      const filling = Buffer.from(
        Array.from({ length: [200, 4_000, 30_000, 120_000][i % 4] ?? 0 }, () => random() * 256),
      );
      const bytes = minimalBpfElf({
        programs: [{ name: `program_${i}` }],
        maps: [{ name: `map_${i}` }],
        sections: [{ name: ".rodata", bytes: filling }],
      });
      registry.add(`org/image-${i}:v1`, bytecodeImage({ objects: [{ path: `${i}.o`, bytes }] }));
      known.set(registry.reference(`org/image-${i}:v1`), digestOf(bytes));
    }
    const cache = await openCache({ directory: directory.join("original"), platform: "linux/amd64" });
    expect((await cache.prefetch([...known.keys()])).failed).toEqual([]);
    await cache.close();
    original = directory.join("original", "data.mdb");
  }, 120_000);

  afterAll(async () => {
    await registry[Symbol.asyncDispose]();
    directory[Symbol.dispose]();
  });

  it.each(Object.entries(harms))(
    "%s: no wrong byte is handed out, and the cache is usable afterwards",
    async (name, { times, harm }) => {
      const tally = new Tally();
      const cases = Array.from({ length: Math.round(times) }, (_, index) => index);
      const worker = async (): Promise<void> => {
        for (let index = cases.shift(); index !== undefined; index = cases.shift())
          await oneCase(`${name} ${index}`, (file) => harm(file, randomFrom(seed + (index ?? 0))), tally);
      };
      await Promise.all(Array.from({ length: atATime }, worker));
      report(
        `6 ${name}`,
        `seed ${seed}: ${Object.entries(tally.counts)
          .map(([what, count]) => `${count} ${what}`)
          .join(", ")}; ` + `${tally.complaints.length} complaints`,
      );
      expect(tally.complaints).toEqual([]);
      // LMDB trusts the pages that lead it to a single row, and those that it writes on: they may kill, but seldom.
      const died = Object.entries(tally.counts).filter(([what]) => what.includes(" died: "));
      expect(died.reduce((sum, [, count]) => sum + count, 0)).toBeLessThanOrEqual(Math.ceil(times * 0.02));
    },
    4 * 3_600_000,
  );

  async function oneCase(name: string, harm: (file: string) => void, tally: Tally): Promise<void> {
    tally.count("cases");
    const cache = directory.join(name.replaceAll(" ", "-"));
    mkdirSync(cache, { mode: 0o700 });
    copyFileSync(original, join(cache, "data.mdb"));
    // Readers need one, as they would find it.
    copyFileSync(directory.join("original", "lock.mdb"), join(cache, "lock.mdb"));
    harm(join(cache, "data.mdb"));
    const complain = (what: string): void => void tally.complaints.push(`${name} (seed ${seed}): ${what}`);

    const reading = await run(process.execPath, [fixture("read-damaged.js"), cache, ...known.keys()]);
    const read = parsed<Read>(reading, "reader", tally, complain);
    if (read !== undefined) {
      tally.count(read.opened === true ? "opened by the reader" : `refused to the reader: ${read.opened}`);
      checkRead(read.read, complain);
    }
    if (await repair(cache, tally, complain)) return;
    // What the hint says: move it aside and prefetch again.
    tally.count("moved aside by hand");
    renameSync(cache, `${cache}.aside`);
    if (!(await repair(cache, tally, complain))) complain("not usable after it was moved aside");
  }

  /** Whether all is well afterwards. */
  async function repair(cache: string, tally: Tally, complain: (what: string) => void): Promise<boolean> {
    const ended = await run(process.execPath, [fixture("repair-damaged.js"), cache, ...known.keys()]);
    const outcome = parsed<Repaired>(ended, "writer", tally, complain);
    if (outcome === undefined) return false;
    checkRead(outcome.read, complain);
    if (outcome.failed !== undefined || typeof outcome.scrub !== "object") {
      tally.count(`not repaired in place: ${outcome.failed ?? outcome.scrub}`);
      return false;
    }
    if (outcome.scrub.repaired.length > 0) tally.count("repaired in place");
    if (outcome.scrub.damaged.length > 0) tally.count("references lost and prefetched again");
    for (const [reference, digest] of known)
      if (outcome.read[reference] !== digest) complain(`${reference} reads as ${outcome.read[reference]}`);
    for (const fault of checkClosure(cache)) complain(fault);
    return true;
  }

  function checkRead(read: Record<string, string>, complain: (what: string) => void): void {
    for (const [reference, found] of Object.entries(read))
      if (found.startsWith("sha256:") && found !== known.get(reference))
        complain(`${reference}: wrong bytes`);
  }
});

function parsed<T>(
  { status, signal, stdout, stderr }: Ended,
  who: string,
  tally: Tally,
  complain: (what: string) => void,
): T | undefined {
  if (status === 0) return JSON.parse(stdout) as T;
  tally.count(`${who} died: ${signal ?? status}`);
  const crashes: readonly unknown[] = ["SIGABRT", "SIGBUS", "SIGSEGV", 134, 135, 139];
  if (!crashes.includes(signal ?? status)) complain(`${who}: ${signal ?? stderr}`);
  return undefined;
}

function rewrite(file: string, change: (bytes: Buffer) => void): void {
  const bytes = readFileSync(file);
  change(bytes);
  writeFileSync(file, bytes);
}
