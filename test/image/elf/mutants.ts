export interface Mutant {
  readonly bytes: Buffer;
  /** Which one it is: the same number gives the same mutant again. */
  readonly seed: number;
}

/** Numbers that sit at the edge of what a field can say. */
const edges = [0, 1, 0x7f, 0x80, 0xff];

/**
 * Copies of `original` with a few bytes changed, a piece cut out, doubled or blanked, or the end cut off. The same
 * original and count give the same mutants in every run.
 */
export function* mutantsOf(original: Buffer, count: number): Generator<Mutant, void, void> {
  for (let seed = 1; seed <= count; seed++) yield { bytes: mutate(original, randomNumbers(seed)), seed };
}

function mutate(original: Buffer, below: (limit: number) => number): Buffer {
  const at = below(original.length);
  const length = 1 + below(Math.min(64, original.length - at));
  switch (below(8)) {
    case 0:
      return original.subarray(0, at);
    case 1:
      return Buffer.concat([original.subarray(0, at), original.subarray(at + length)]);
    case 2:
      return Buffer.concat([original.subarray(0, at + length), original.subarray(at)]);
    case 3:
      return Buffer.from(original).fill(edges[below(edges.length)] ?? 0, at, at + length);
    default: {
      const copy = Buffer.from(original);
      for (let changes = 1 + below(8); changes > 0; changes--) {
        // Half of the changes hit the ends of the file, where the headers are.
        const near = Math.min(original.length, 64);
        const place = [below(original.length), below(near), original.length - 1 - below(near)][below(3)] ?? 0;
        copy[place] = below(2) === 0 ? below(256) : (edges[below(edges.length)] ?? 0);
      }
      return copy;
    }
  }
}

/** Mulberry32: small, seeded, and good enough to pick bytes with. */
export function randomNumbers(seed: number): (limit: number) => number {
  let state = Math.imul(seed, 0x9e3779b9);
  return (limit) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % limit;
  };
}

export function failureOf(action: () => unknown): unknown {
  try {
    action();
  } catch (error) {
    return error;
  }
  return undefined;
}

/** How long the quickest of three runs takes: one run alone also measures whatever else the machine is doing. */
export async function quickestMs(action: () => unknown): Promise<number> {
  let quickest = Number.POSITIVE_INFINITY;
  for (let run = 0; run < 3; run++) {
    const started = performance.now();
    await action();
    quickest = Math.min(quickest, performance.now() - started);
  }
  return quickest;
}
