import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { bpfmanLabels, bytecodeImage, minimalBpfElf, type TestImage } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { requireTools } from "../support/tools.js";
import { User } from "./command.js";
import { type Screen, watchOnTerminal } from "./tmux.js";

const noTerminal = requireTools("tmux");
const amd64 = ["--platform", "linux/amd64"];

/** With a layer that does not become smaller. */
function bulkyImage(kilobytes: number): TestImage {
  const sections = [{ name: ".rodata", bytes: randomBytes(kilobytes * 1_000) }];
  const bytes = minimalBpfElf({ programs: [{ name: "pass", section: "xdp" }], sections });
  return bytecodeImage({ objects: [{ path: "pass.o", bytes }], labels: bpfmanLabels({ pass: "xdp" }) });
}

describe.skipIf(noTerminal)(`on a terminal${noTerminal ?? ""}`, () => {
  const names = ["quick", "slow", "slower", "refused", "cut", "team/with-a-rather-long-name-of-its-own"];
  let registry: TestRegistry;
  let references: string[];

  beforeAll(async () => {
    registry = await startTestRegistry();
    for (const name of names) registry.add(`org/${name}:v1`, bulkyImage(400));
    references = names.map((name) => registry.reference(`org/${name}:v1`));
  });

  afterAll(() => registry.close());

  /**
   * A prefetch of seven: two are slow, of which one is the last, whatever the others' retries wait for; one is refused at
   * first, one breaks off at first, and one is not there.
   */
  async function prefetch(user: User, columns: number): Promise<Screen> {
    registry.repair();
    registry.break({ kind: "blob", path: "org/slow/" }, { stallMs: 1_500 });
    registry.break({ kind: "blob", path: "org/slower/" }, { stallMs: 4_000 });
    registry.break({ kind: "manifest", path: "org/refused/", times: 2 }, { status: 503 });
    registry.break({ kind: "blob", path: "org/cut/", times: 2 }, { destroyAt: 50_000 });
    const absent = registry.reference("org/absent:v1");
    return watchOnTerminal(user, ["prefetch", ...references, absent, ...amd64], { columns });
  }

  /** What a line of the display, or one that stays, may be. Nothing else may ever be seen. */
  function shapes(): RegExp[] {
    const amount = String.raw`[\d.]+( [KM]?i?B)?/[\d.]+ [KM]?i?B`;
    return [
      /^cached 127\.0\.0\.1:\d+\/org\/\S+:v1$/,
      /^failed 127\.0\.0\.1:\d+\/org\/absent:v1: .*\[NOT_FOUND\]$/,
      new RegExp(`^ {2}127\\.0\\.0\\.1\\S+:v1 +([█░]{5,20} {2})?${amount}( +[\\d.]+ [KM]?i?B/s)?$`),
      /^ {2}127\.0\.0\.1\S+:v1 +(asking the registry|fetching the manifest|checking [\d.]+ ([KM]i)?B)$/,
      /^ {2}127\.0\.0\.1\S+:v1 +retry \d (now|in \d+ s): .*$/,
      /^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] \d of 7 images( {2}1 failed)?( {2}\d+ retr(y|ies))? {2}[\d.]+ [KM]?i?B( {2}[\d.]+ [KM]?i?B\/s)?( {2}\d+:\d\d)?…?$/,
      /^6 cached, 1 failed, \d+ requests, \d+ retr(y|ies), [\d.]+ MiB in [\d.]+ s$/,
      /^bpfcache: 1 of 7 images failed \[PARTIAL\]$/,
    ];
  }

  const live = /^( {2}127|[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏])/;

  describe.each([80, 200])("%d columns wide, a prefetch with failures and retries", (columns) => {
    let screen: Screen;
    let user: User;

    beforeAll(async () => {
      user = new User();
      screen = await prefetch(user, columns);
    });

    afterAll(() => user[Symbol.dispose]());

    it("has no torn line at any moment", () => {
      const known = shapes();
      const torn = [...screen.during, screen.after]
        .flat()
        .filter((line) => !known.some((shape) => shape.test(line)));
      expect(torn).toEqual([]);
    });

    it("keeps what is drawn within its width", () => {
      const drawn = screen.during.flat().filter((line) => live.test(line));
      expect(drawn.length).toBeGreaterThan(3);
      for (const line of drawn) expect([...line].length).toBeLessThan(columns);
    });

    it("shows several images at a time, how much has come of them, and retries", () => {
      const rows = screen.during.map((lines) => lines.filter((line) => line.startsWith("  127")));
      expect(Math.max(...rows.map((lines) => lines.length))).toBeGreaterThanOrEqual(2);
      const seen = rows.flat().join("\n");
      expect(seen).toMatch(/[█░]{5,} {2}[\d.]+\/[\d.]+ KiB +[\d.]+ KiB\/s/);
      expect(seen).toMatch(/retry 1/);
      if (columns === 200) expect(seen).toMatch(/retry \d .*503/);
    });

    it("counts as done what it says is cached", () => {
      for (const lines of screen.during) {
        const done = lines.map((line) => /^\S (\d) of 7 images/.exec(line)?.[1]).find(Boolean);
        const cached = lines.filter((line) => line.startsWith("cached ")).length;
        // A frame is drawn ten times a second, and a line that stays at once.
        if (done !== undefined) expect(cached - Number(done)).toBeGreaterThanOrEqual(0);
      }
      const last = screen.during.flatMap((lines) => lines.filter((line) => /^\S \d of 7/.test(line))).at(-1);
      expect(last).toMatch(/[45] of 7 images {2}1 failed {2}\d retries/);
    });

    it("leaves a line for each image and the totals, which are right", () => {
      const cached = screen.after.filter((line) => line.startsWith("cached "));
      expect(cached.sort()).toEqual(references.map((reference) => `cached ${reference}`).sort());
      expect(screen.after.filter((line) => live.test(line))).toEqual([]);
      const summary = screen.after.find((line) => line.startsWith("6 cached"));
      const [, retries, size] = /, (\d+) retr\w+, ([\d.]+) MiB/.exec(summary ?? "") ?? [];
      // Two refusals, and a config and a layer that broke off.
      expect(Number(retries)).toBeGreaterThanOrEqual(3);
      expect(Number(size)).toBeCloseTo((6 * 400_000) / 1024 ** 2, 0);
      expect(screen.status).toBe(20);
    });
  });

  it("Ctrl-C stops a prefetch, keeps what is finished, and leaves nothing of the display", async () => {
    using user = new User();
    registry.repair();
    registry.break({ kind: "blob", path: "org/slow/" }, { stallMs: 60_000 });
    const words = ["prefetch", ...references.slice(0, 2), ...amd64];
    const keys = [{ after: /cached .*quick/, key: "C-c" }];
    const { after, status } = await watchOnTerminal(user, words, { columns: 80, keys });
    registry.repair();
    expect(status).toBe(130);
    expect(after.join("\n")).toContain("stopping; what is complete stays");
    expect(after.filter((line) => live.test(line))).toEqual([]);
    const { stdout } = await user.bpfcache(["list"]);
    expect(stdout).toContain("org/quick:v1");
    expect(stdout).not.toContain("org/slow:v1");
  });

  it("export has a line for each image under way and one for all, and leaves one for each", async () => {
    using user = new User();
    registry.repair();
    await user.bpfcache(["prefetch", ...references, ...amd64]);
    // A reader of half a megabyte a second, so that there is something to see.
    const slowly = "for await (const _ of process.stdin) await new Promise((go) => setTimeout(go, 100))";
    const into = [process.execPath, "--input-type=module", "-e", slowly];
    const words = ["export", "--all", "-o", "-"];
    const { during, after, status } = await watchOnTerminal(user, words, { columns: 100, into });
    expect(status).toBe(0);
    const known = [
      /^ {2}127\.0\.0\.1\S+:v1 +(writing|[█░]{5,20} {2}[\d.]+( [KM]?i?B)?\/[\d.]+ [KM]?i?B( +[\d.]+ [KM]?i?B\/s)?)$/,
      /^[⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏] \d of 6 images {2}[\d.]+ [KM]?i?B( {2}[\d.]+ [KM]?i?B\/s)?( {2}\d+:\d\d)?…?$/,
      /^exported 127\.0\.0\.1:\d+\/org\/\S+:v1$/,
    ];
    const lines = [...during, after].flat();
    expect(lines.filter((line) => !known.some((shape) => shape.test(line)))).toEqual([]);
    const rows = new Set(lines.filter((line) => line.startsWith("  127")).map((line) => line.split(" ")[2]));
    expect(rows.size).toBeGreaterThanOrEqual(3);
    const done = lines.flatMap((line) => /(\d) of 6 images/.exec(line)?.[1] ?? []);
    expect(done).toEqual([...done].sort());
    expect(new Set(done).size).toBeGreaterThanOrEqual(4);
    expect([...after].sort()).toEqual(references.map((reference) => `exported ${reference}`).sort());
  });

  it("tables keep within its width, and are whole in a pipe", async () => {
    using user = new User();
    registry.repair();
    await user.bpfcache(["prefetch", ...references, ...amd64]);
    for (const columns of [60, 80, 200]) {
      for (const verb of ["list", "usage"]) {
        const { after } = await watchOnTerminal(user, [verb], { columns });
        const table = after.filter((line) => /127\.|REFERENCE/.test(line));
        expect(table).toHaveLength(7);
        for (const line of table) expect([...line].length).toBeLessThanOrEqual(columns);
        if (columns === 200) expect(table.join("\n")).toContain(references.at(-1));
      }
    }
    const { stdout } = await user.bpfcache(["list"]);
    for (const reference of references) expect(stdout).toContain(reference);
  });

  it.each([
    [{}, true],
    [{ NO_COLOR: "1" }, false],
    [{ NO_COLOR: "1", FORCE_COLOR: "1" }, false],
    [{ TERM: "dumb" }, false],
  ])("with %j has colour: %s", async (variables, expected) => {
    using user = new User({ ...variables });
    const { stdout } = await user.onTerminal(["config", "show"]);
    expect(stdout.includes("\u001b[")).toBe(expected);
  });
});

describe("colour", () => {
  it("does not go into a pipe unless it is forced", async () => {
    using user = new User();
    expect((await user.bpfcache(["config", "show"])).stdout).not.toContain("\u001b");
    using forcing = new User({ FORCE_COLOR: "1" });
    expect((await forcing.bpfcache(["config", "show"])).stdout).toContain("\u001b[1m");
  });
});
