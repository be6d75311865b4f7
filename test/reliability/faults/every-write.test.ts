import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { ErrorCode } from "../../../src/core/errors.js";
import { requireTools } from "../../support/tools.js";
import { quantile, report } from "../figures.js";
import type { OperationName } from "../fixtures/operations.js";
import { operationNames, prepareTemplates, RehearsedOperation, type Templates } from "../operation.js";
import { ended, TemporaryDirectory } from "../processes.js";
import { OperationSite } from "../site.js";
import { isSoak } from "../soak.js";
import { describeFault, type Fault, isAfterMessage, messageBytes, Shim } from "./shim.js";

// The calls by which an operation changes files are counted, and at each of them the process is killed, or the call
// fails, once or from then on. (SQLite tests itself so: sqlite.org/testing.html, "I/O error testing".)
const faults: readonly Fault[] = [
  "kill",
  { errno: "ENOSPC", forGood: false },
  { errno: "ENOSPC", forGood: true },
  { errno: "EIO", forGood: false },
  { errno: "EIO", forGood: true },
  "short",
];

/** How many of an operation's calls are struck where not all are, from the first to the last, by each fault in turn. */
const sample = 12;

/** A process that has not ended so long after the fault waits for something that will never come. */
const hangMs = 2_000;

const missing = requireTools("cc");

describe.skipIf(missing)(`a fault at the Nth write${missing ?? ""}`, () => {
  const directory = new TemporaryDirectory();
  let site: OperationSite;
  let templates: Templates;
  let shim: Shim;
  let points = 0;
  let crashes = 0;
  let strikes = 0;
  const reactionsMs: number[] = [];
  const counts = new Map<string, number>();

  beforeAll(async () => {
    site = await OperationSite.start();
    shim = new Shim();
    templates = await prepareTemplates(directory.path, site);
  });

  afterAll(async () => {
    const calls = [...counts].map(([name, count]) => `${name} ${count}`).join(", ");
    report(
      "2 a fault at the Nth write",
      `${points} points of ${faults.length} faults, ${crashes} known crashes of lmdb-js; calls: ${calls}; the process ended ${Math.round(quantile(reactionsMs, 0.5))} ms ` +
        `after the fault (median; at most ${Math.round(Math.max(0, ...reactionsMs))} ms)`,
    );
    shim[Symbol.dispose]();
    directory[Symbol.dispose]();
    await site[Symbol.asyncDispose]();
  });

  it.each(operationNames)(
    "leaves the old or the new state behind %s",
    async (name) => {
      const operation = await RehearsedOperation.rehearse(name, site, templates);
      const calls = await countCalls(operation);
      counts.set(name, calls);
      expect(calls).toBeGreaterThan(2);
      const complaints: string[] = [];
      const before = { points, strikes };
      const todo = isSoak ? everyPoint(calls) : somePoints(calls, operationNames.indexOf(name));
      const work = async (): Promise<void> => {
        for (let point = todo.pop(); point !== undefined; point = todo.pop())
          complaints.push(...(await strike(operation, point.at, point.fault)));
      };
      await Promise.all([work(), work()]);
      expect(complaints).toEqual([]);
      // Two runs do not make quite the same calls, so the last of them may not be reached.
      expect((strikes - before.strikes) / (points - before.points)).toBeGreaterThan(0.75);
    },
    isSoak ? 3_600_000 : 300_000,
  );

  async function countCalls(operation: RehearsedOperation): Promise<number> {
    using trial = operation.trial();
    const strike = shim.strike(trial.directory);
    await ended(trial.start(strike.environment));
    return strike.calls;
  }

  async function strike(operation: RehearsedOperation, at: number, fault: Fault): Promise<string[]> {
    const complaints: string[] = [];
    let leastBytes = 0;
    // A machine that is busy with something else looks like a hang, but not three times.
    for (let attempt = 1; ; attempt++) {
      using trial = operation.trial();
      const struck = await strikeOnce(operation, trial, { at, fault, leastBytes });
      if (struck.isSlow && !struck.mayBeOfMessage && attempt < 3) continue;
      complaints.push(...struck.complaints);
      if (!struck.mayBeOfMessage) return complaints;
      crashes++;
      leastBytes = messageBytes;
    }
  }

  async function strikeOnce(
    operation: RehearsedOperation,
    trial: ReturnType<RehearsedOperation["trial"]>,
    { at, fault, leastBytes }: Point & { readonly leastBytes: number },
  ): Promise<{ isSlow: boolean; mayBeOfMessage: boolean; complaints: string[] }> {
    points++;
    const strike = shim.strike(trial.directory, at, fault, leastBytes);
    // A process that is killed says nothing more, but it may be a child of the one that was told what to do.
    const isOnce = typeof fault === "string" || !fault.forGood;
    const child = trial.start(strike.environment, ...(isOnce ? ["--again"] : []));
    let isStuck = false;
    const watchdog = setTimeout(() => {
      isStuck = child.kill("SIGKILL");
    }, 10 * hangMs);
    const { status, signal, stdout, stderr } = await ended(child);
    clearTimeout(watchdog);
    const { struck } = strike;
    const outcome = outcomeIn(stdout);
    const where = `${operation.name}, ${describeFault(fault)} at ${at} (${struck?.name})`;
    // What is done again after a fault that has passed takes its own time.
    const endedAt = Math.max(outcome.at ?? Date.now(), struck?.at ?? 0);
    const reactionMs = struck === undefined ? 0 : endedAt - struck.at;
    if (struck !== undefined) strikes++;
    const isSlow = isStuck || reactionMs > hangMs;
    if (!isSlow && struck !== undefined) reactionsMs.push(reactionMs);
    const { faults } = await operation.judge(trial);
    const mayBeOfMessage = leastBytes === 0 && signal !== null && isAfterMessage(stderr);
    if (isSlow && !mayBeOfMessage)
      faults.push(isStuck ? "had to be killed" : `still there ${reactionMs} ms after it`);
    const isOfChild = struck !== undefined && struck.pid !== child.pid;
    if (fault === "kill" && !isOfChild) {
      if (struck !== undefined && signal !== "SIGKILL") faults.push(`the process survived: ${status}`);
    } else if (!mayBeOfMessage) {
      if (status !== 0) faults.push(`ended with ${signal ?? status}: ${stderr}`);
      else faults.push(...complaintsAbout(operation.name, outcome, { isOnce, isKill: fault === "kill" }));
    }
    return { isSlow, mayBeOfMessage, complaints: faults.map((complaint) => `${where}: ${complaint}`) };
  }
});

interface Failure {
  readonly code: string;
  readonly message: string;
}

interface Outcome {
  readonly failure: Failure | null;
  /** When it ended, in milliseconds since 1970; undefined when it never said. */
  readonly at?: number;
  readonly again: Failure | null;
}

/** What operate.js has printed. */
function outcomeIn(stdout: string): Outcome {
  const said = stdout
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
  const nothing = { failure: { code: "nothing said", message: "" } };
  const { failure, at } = said.find((line) => "failure" in line) ?? nothing;
  return { failure, at, again: said.find((line) => "again" in line)?.again ?? null };
}

/** How an operation may fail that cannot write; what it was told to do after a fault that has passed must succeed. */
function complaintsAbout(
  operation: OperationName,
  { failure, again }: Outcome,
  { isOnce, isKill }: { readonly isOnce: boolean; readonly isKill: boolean },
): string[] {
  const complaints: string[] = [];
  // Reading needs no writing: that the use cannot be noted is no reason not to get what is there.
  const isTyped = isKill
    ? failure?.code === "INTERNAL" && failure.message.includes("SIGKILL")
    : mayFailWith.has(failure?.code ?? "");
  if (failure !== null && (operation === "bytecode" || !isTyped))
    complaints.push(`failed with ${failure.code}: ${failure.message}`);
  if (isOnce && again !== null) complaints.push(`then, again, with ${again.code}: ${again.message}`);
  return complaints;
}

/** USAGE is what a directory is refused with that cannot be made. */
const mayFailWith = new Set<string>(["CACHE_FULL", "CACHE_CORRUPT", "USAGE"] satisfies ErrorCode[]);

interface Point {
  readonly at: number;
  readonly fault: Fault;
}

function everyPoint(calls: number): Point[] {
  return faults.flatMap((fault) => Array.from({ length: calls }, (_, index) => ({ at: index + 1, fault })));
}

/** `shift` lets the first call of one operation be struck by another fault than that of the next. */
function somePoints(calls: number, shift: number): Point[] {
  return Array.from({ length: sample }, (_, index) => ({
    at: Math.round(1 + (index * (calls - 1)) / (sample - 1)),
    fault: faults[(index + shift) % faults.length] ?? "kill",
  }));
}
