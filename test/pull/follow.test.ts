import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BpfcacheError } from "../../src/core/errors.js";
import { follow, waitAfter } from "../../src/pull/follow.js";

const hourMs = 3_600_000;

describe("the wait for the next round", () => {
  it("is the interval, more or less a tenth of it, so that nodes do not ask together", () => {
    expect([0, 0.5, 1].map((random) => waitAfter(0, hourMs, random))).toEqual([
      3_240_000, 3_600_000, 3_960_000,
    ]);
  });

  it("is short after a failure, and doubles with each one more up to the interval", () => {
    const waits = [1, 2, 3, 4, 20].map((failures) => waitAfter(failures, hourMs, 0.5));
    expect(waits).toEqual([5_000, 10_000, 20_000, 40_000, hourMs]);
  });

  it("grows beyond a short interval while failures go on", () => {
    const waits = [1, 2, 3, 20].map((failures) => waitAfter(failures, 2_000, 0.5));
    expect(waits).toEqual([2_000, 4_000, 8_000, 300_000]);
  });

  it("is never none, and never much more than the longest", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 5_000 }),
        fc.integer({ min: 1_000, max: 365 * 24 * hourMs }),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (failures, intervalMs, random) => {
          const waitMs = waitAfter(failures, intervalMs, random);
          const isPossible = waitMs <= 0x7fffffff; // Node.js: setTimeout takes anything longer for 1 ms
          return isPossible && waitMs >= 750 && waitMs <= Math.ceil(1.25 * Math.max(intervalMs, 300_000));
        },
      ),
    );
  });
});

describe("following", () => {
  /** Follows until `rounds` of these outcomes have been; returns the waits between them. */
  async function waitsOf(outcomes: readonly boolean[]): Promise<number[]> {
    const controller = new AbortController();
    const waits: number[] = [];
    const left = [...outcomes];
    await follow(async () => ({ isWorthRepeating: left.shift() ?? false }), {
      intervalMs: hourMs,
      signal: controller.signal,
      clock: {
        random: () => 0.5,
        sleep: async (milliseconds) => {
          waits.push(milliseconds);
          if (left.length > 0) return;
          controller.abort();
          throw new BpfcacheError("INTERRUPTED", "interrupted");
        },
      },
    });
    return waits;
  }

  it("goes on after failures, and back to the interval when they are over", async () => {
    expect(await waitsOf([false, true, true, false, true])).toEqual([hourMs, 5_000, 10_000, hourMs, 5_000]);
  });

  it("ends in a wait when it is told to, without a failure", async () => {
    const controller = new AbortController();
    const following = follow(async () => ({ isWorthRepeating: false }), {
      intervalMs: hourMs,
      signal: controller.signal,
      onWaiting: async () => void setImmediate(() => controller.abort()),
    });
    await expect(following).resolves.toBeUndefined();
  });

  it("that is told to end in a round waits no more", async () => {
    const controller = new AbortController();
    let waits = 0;
    await follow(
      async () => {
        controller.abort();
        return { isWorthRepeating: true };
      },
      { intervalMs: hourMs, signal: controller.signal, onWaiting: async () => void waits++ },
    );
    expect(waits).toBe(0);
  });
});
