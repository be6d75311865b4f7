import { childProcessorMs } from "./children.js";
import type { Samples } from "./samples.js";

export interface Contestant {
  readonly name: string;
  /** Before each run, and not measured. */
  prepare?(): Promise<void> | void;
  /** What is measured: the milliseconds it takes, or else the number that it returns. */
  run(): Promise<unknown> | unknown;
  /** For what takes too long to be run as often as the others. */
  readonly rounds?: number;
}

export interface ContestOptions {
  readonly rounds: number;
  /** Counts the requests of each run. */
  readonly counter?: { reset(): Promise<void>; count(): Promise<number> } | undefined;
  /** Whether processor time says something: not of runs that are many times shorter than a clock tick. */
  readonly cpu?: boolean;
}

/**
 * Runs the contestants in alternation, each round beginning with another one, so that what else the machine does
 * meets all of them alike.
 */
export async function contest(
  contestants: readonly Contestant[],
  { rounds, counter, cpu = false }: ContestOptions,
): Promise<Map<string, Samples>> {
  const results = new Map(contestants.map(({ name }) => [name, new Recording(name)]));
  for (let round = 0; round < rounds; round++) {
    for (let place = 0; place < contestants.length; place++) {
      const contestant = contestants[(round + place) % contestants.length];
      if (contestant === undefined || round >= (contestant.rounds ?? rounds)) continue;
      await contestant.prepare?.();
      await counter?.reset();
      const cpuBefore = processorMs();
      const startedAt = performance.now();
      const returned = await contestant.run();
      const milliseconds = performance.now() - startedAt;
      const recording = results.get(contestant.name);
      recording?.values.push(typeof returned === "number" ? returned : milliseconds);
      if (cpu) recording?.cpuMs.push(processorMs() - cpuBefore);
      if (counter !== undefined) recording?.requests.push(await counter.count());
    }
  }
  return new Map([...results].map(([name, recording]) => [name, recording.samples()]));
}

/** The results of one that must be there. */
export function resultOf(results: ReadonlyMap<string, Samples>, name: string): Samples {
  const samples = results.get(name);
  if (samples === undefined) throw new Error(`nothing was measured of ${name}`);
  return samples;
}

class Recording {
  readonly values: number[] = [];
  readonly cpuMs: number[] = [];
  readonly requests: number[] = [];

  constructor(readonly name: string) {}

  samples(): Samples {
    const { name, values, cpuMs, requests } = this;
    return {
      name,
      values,
      ...(cpuMs.length > 0 ? { cpuMs } : {}),
      ...(requests.length > 0 ? { requests } : {}),
    };
  }
}

/** Of this process, and of its children that have ended. */
function processorMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000 + childProcessorMs();
}
