import { execFile } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pLimit from "p-limit";
import { beforeAll, describe, expect, it } from "vitest";
import { exitStatus } from "../../src/core/errors.js";
import { openReader } from "../../src/reader.js";
import { rowsIn } from "../pull/support.js";
import { bytecodeImage } from "../support/image-builder.js";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.js";
import { archives, documents, hostileName, objects, transfers } from "./cases.js";

const cases = [...archives, ...objects, ...documents, ...transfers].filter(
  (hostile) => hostile.onCommandLine,
);
const honest = "an honest image";

interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command that `npm test` has built. */
function bpfcache(...words: readonly string[]): Promise<Ended> {
  return new Promise((resolve) => {
    const child = execFile(process.execPath, ["dist/packed/main.js", ...words], (_, stdout, stderr) =>
      resolve({ status: child.exitCode, stdout, stderr }),
    );
  });
}

/** Pulls what the registry serves, and counts the rows of the database and what the cache lists afterwards. */
async function pull(serve: (registry: TestRegistry) => void) {
  await using registry = await startTestRegistry();
  serve(registry);
  const reference = registry.reference(hostileName);
  const directory = mkdtempSync(join(tmpdir(), "bpfcache-test-"));
  try {
    const options = ["--json", "--platform", "linux/amd64", "--cache-dir", directory];
    const ended = await bpfcache("pull", reference, ...options);
    const reader = openReader({ directory });
    const images = reader.list().length;
    reader.close();
    return { reference, ...ended, images, rows: rowsIn(directory) };
  } finally {
    rmSync(directory, { recursive: true });
  }
}

type Outcome = Awaited<ReturnType<typeof pull>>;
const outcomes = new Map<string, Promise<Outcome>>();

/** Commands take half a second to start, so three run at a time; each test then looks at its own. */
beforeAll(() => {
  const atATime = pLimit(3);
  const slowestFirst = [...cases].sort(
    (a, b) => Number(b.code === "UNREACHABLE") - Number(a.code === "UNREACHABLE"),
  );
  for (const { what, serve } of slowestFirst) outcomes.set(what, atATime(pull, serve));
  outcomes.set(
    honest,
    atATime(pull, (registry: TestRegistry) => registry.add(hostileName, bytecodeImage())),
  );
});

async function outcomeOf(what: string): Promise<Outcome> {
  const outcome = await outcomes.get(what);
  if (outcome === undefined) throw new Error(`${what} was not run`);
  return outcome;
}

describe("bpfcache pull", () => {
  it.each(cases.map(({ what, code }) => [what, exitStatus[code], code] as const))(
    "of %s ends with status %i, says so as JSON, and writes nothing",
    async (what, status, code) => {
      const { reference, stderr, stdout, images, rows, ...ended } = await outcomeOf(what);
      // Warnings and repeated attempts go to stderr too; the error is the last line.
      const { error } = JSON.parse(stderr.trim().split("\n").at(-1) ?? "");
      expect(ended.status).toBe(status);
      expect(error).toMatchObject({ code, reference, message: expect.stringMatching(/^[^\n]{10,}$/) });
      expect({ stdout, images, rows }).toEqual({ stdout: "", images: 0, rows: {} });
    },
  );

  it("of an honest image ends with status 0, and writes it", async () => {
    const { status, stdout, images, rows } = await outcomeOf(honest);
    expect([status, JSON.parse(stdout).requests, images]).toEqual([0, 3, 1]);
    expect(rows).toMatchObject({ refs: 1, objects: 1 });
  });

  it("prints one error, and no stack", async () => {
    for (const { what } of cases) {
      const { stderr } = await outcomeOf(what);
      expect(stderr.split("\n").filter((line) => line.startsWith('{"error"'))).toHaveLength(1);
      expect(stderr).not.toMatch(/\bat .*\.js:\d+/);
    }
  });
});

describe("bpfcache list", () => {
  it("is empty after a refused image", async () => {
    const { listed } = await listAfterRefusal();
    expect([listed.status, JSON.parse(listed.stdout)]).toEqual([0, { images: [] }]);
  });

  async function listAfterRefusal() {
    const directory = mkdtempSync(join(tmpdir(), "bpfcache-test-"));
    try {
      await using registry = await startTestRegistry();
      cases[0]?.serve(registry);
      await bpfcache("pull", registry.reference(hostileName), "--cache-dir", directory);
      return { listed: await bpfcache("list", "--json", "--cache-dir", directory) };
    } finally {
      rmSync(directory, { recursive: true });
    }
  }
});
